// AlertMgr.js: tells scomconnector when an alert of SCOM's is closed in Moogsoft, so that it is closed in SCOM too.
// It belongs into $MOOGSOFT_HOME/bots/moobots; README.md beside it says how.

var events = MooBot.loadModule('Events');
var moogdb = MooBot.loadModule('MoogDb.V2');
var logger = MooBot.loadModule('Logger');
var constants = MooBot.loadModule('Constants');
var scheduler = MooBot.loadModule('Scheduler');
var rest = MooBot.loadModule('REST.V2');

var MOOBOT_NAME = "AlertMgr::";

// ---- what to set ------------------------------------------------------------------------------------------------------

// All nodes of the connector, the witness too. Any of them takes a request, so that one may be down. Empty: only the node
// that has sent the alert is asked.
var CONNECTORS = [];                 // e.g. ["http://scomc1.contoso.com:8085", "http://scomc2.contoso.com:8085"]

// The content of the nodes' CallbackTokenFile, if they have one.
var TOKEN = "";

// What closing in Moogsoft means in SCOM: one of the connector's CallbackActions. "Closed" is resolution state 255, "Resolved" 254.
var CLOSE_DETAIL = "Closed";

// Where a ticket's number is in custom_info. If there is one, SCOM's TicketId is set: with a request of its own (detail "Update")
// as soon as it is there, if alert_manager.conf lists AlertUpdate. Empty: never.
var TICKET_KEY = "";                 // e.g. "ticketing.ticketNumber"

// Seconds to wait for one answer. The connector answers within its CloseWaitSeconds (5 unless set otherwise).
var TIMEOUT_SECONDS = 15;

// What could not be delivered is tried again every so many seconds, for so long, and so much of it is kept. It is kept in memory:
// what was still waiting when moogfarmd was stopped has custom_info.closedAtSource "waiting", which a filter finds.
var RETRY_SECONDS = 30;
var RETRY_FOR_SECONDS = 24 * 3600;
var RETRY_MOST = 10000;

// -----------------------------------------------------------------------------------------------------------------------

var waiting = [];

events.onEvent("closeAlert", constants.eventType("AlertClose")).listen();
if (TICKET_KEY) {
    events.onEvent("updateAlert", constants.eventType("AlertUpdate")).listen();
}
scheduler.scheduleJob(this, "retryWaiting", RETRY_SECONDS, RETRY_SECONDS);

// closeAlert is called when an alert is closed in Moogsoft, by whomever.
function closeAlert(alert) {
    if (!isFromSCOM(alert)) {
        return;
    }
    var payload = payloadOf(alert, CLOSE_DETAIL);
    var ticket = ticketOf(alert);
    if (ticket) {
        payload.ticketId = ticket;
    }
    deliver({ alertId: alert.value("alert_id"), addresses: addressesOf(alert), payload: payload, key: "closedAtSource" }, alert);
}

// updateAlert is called when an alert changes; it hands on a ticket's number once.
function updateAlert(alert) {
    var ticket = ticketOf(alert);
    if (!isFromSCOM(alert) || !ticket || customInfoOf(alert).ticketGiven === ticket) {
        return;
    }
    // Before it is sent: what is written into custom_info comes back as an update.
    remember(alert, "ticketGiven", ticket);
    var payload = payloadOf(alert, "Update");
    payload.ticketId = ticket;
    deliver({ alertId: alert.value("alert_id"), addresses: addressesOf(alert), payload: payload, key: "ticketAtSource" }, alert);
}

// retryWaiting is called by the scheduler.
function retryWaiting() {
    var again = waiting;
    waiting = [];
    for (var i = 0; i < again.length; i++) {
        var request = again[i];
        var alert = moogdb.getAlert(request.alertId);
        if (now() - request.since > RETRY_FOR_SECONDS * 1000) {
            logger.warning(MOOBOT_NAME + "retryWaiting:: gave up on alert " + request.alertId + ", uuid " + request.payload.id);
            remember(alert, request.key, "failed");
            continue;
        }
        if (!deliver(request, alert)) {
            // Nobody takes it, so that nobody would take the others either: each would cost a time-out. Next time another one is first.
            waiting = again.slice(i + 1).concat(waiting);
            return;
        }
    }
}

// deliver asks one node after the other, and keeps the request for later if none of them has taken it. It returns false then.
function deliver(request, alert) {
    var name = MOOBOT_NAME + "deliver:: alert " + request.alertId + ", uuid " + request.payload.id + ": ";
    var why = "no address of a connector in custom_info.MoogConnector.ConnectorAddress, and CONNECTORS is empty";
    for (var i = 0; i < request.addresses.length; i++) {
        var answer = post(request.addresses[i], request.payload);
        if (answer.accepted) {
            logger.debug(name + "accepted by " + request.addresses[i] + ", " + answer.text);
            remember(alert, request.key, "successful");
            return true;
        }
        why = request.addresses[i] + ": " + answer.text;
        if (answer.last) {
            logger.warning(name + "rejected by " + why);
            remember(alert, request.key, "failed");
            return true;
        }
        logger.info(name + "not taken by " + why);
    }
    if (request.addresses.length === 0 || waiting.length >= RETRY_MOST) {
        logger.warning(name + "given up: " + why);
        remember(alert, request.key, "failed");
        return true;
    }
    if (!request.since) {
        request.since = now();
        logger.warning(name + "no connector takes it, it is tried again every " + RETRY_SECONDS + " s; the last one said: " + why);
        remember(alert, request.key, "waiting");
    }
    waiting.push(request);
    return false;
}

// post asks one node. last: asking again, or another node, would not help.
function post(address, payload) {
    var parameters = {
        url: address + "/event_post/",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(payload),
        timeout: TIMEOUT_SECONDS
    };
    if (TOKEN) {
        parameters.headers.Authorization = "Bearer " + TOKEN;
    }
    var rc = null;
    try {
        rc = rest.sendPost(parameters);
    } catch (e) {
        return { accepted: false, last: false, text: String(e) };
    }
    if (!rc) {
        return { accepted: false, last: false, text: "no answer" };
    }
    var status = Number(rc.status_code) || 0;
    var text = typeof rc.response === "object" && rc.response !== null ? JSON.stringify(rc.response) : String(rc.response);
    var says = parsed(text);
    // A proxy's or a log-on page is no connector's answer, whatever its status.
    if (rc.success && says && says.success === true) {
        return { accepted: true, text: String(says.status) };
    }
    // 400: it makes no sense; 404: the connector does not know the alert; 409: SCOM refuses, and the connector keeps it for a person.
    var last = !!says && (status === 400 || status === 404 || status === 409 || status === 413);
    return { accepted: false, last: last, text: "HTTP " + status + " " + text.substring(0, 500) };
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch (e) {
        return null;
    }
}

// isFromSCOM leaves out alerts of other tools, and the connector's own: these have no alert in SCOM.
function isFromSCOM(alert) {
    return alert.evaluateFilter("agent == 'SCOM'") && !!alert.value("external_id");
}

function payloadOf(alert, detail) {
    return {
        id: String(alert.value("external_id")),
        externalId: alert.value("agent_location"),
        description: alert.value("description"),
        detail: detail
    };
}

// addressesOf is whom to ask: first the node that has sent the alert, then all others.
function addressesOf(alert) {
    var all = [];
    var connector = customInfoOf(alert).MoogConnector;
    var candidates = (connector && connector.ConnectorAddress ? [connector.ConnectorAddress] : []).concat(CONNECTORS);
    for (var i = 0; i < candidates.length; i++) {
        var address = String(candidates[i]).replace(/\/+$/, "");
        if (address && all.indexOf(address) < 0) {
            all.push(address);
        }
    }
    return all;
}

// ticketOf is the ticket's number, or an empty text.
function ticketOf(alert) {
    if (!TICKET_KEY) {
        return "";
    }
    var at = customInfoOf(alert);
    var names = TICKET_KEY.split(".");
    for (var i = 0; i < names.length; i++) {
        if (at === null || at === undefined) {
            return "";
        }
        at = at[names[i]];
    }
    return at === null || at === undefined ? "" : String(at);
}

function customInfoOf(alert) {
    return alert.getCustomInfo() || {};
}

// remember shows in Moogsoft what became of a request.
function remember(alert, key, value) {
    if (!alert) {
        return;
    }
    var customInfo = customInfoOf(alert);
    if (customInfo[key] === value) {
        return;
    }
    customInfo[key] = value;
    alert.setCustomInfo(customInfo);
    moogdb.updateAlert(alert);
}

function now() {
    return new Date().getTime();
}
