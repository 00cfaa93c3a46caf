package test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/publisher/publishertest"
)

var screenshots = flag.String("screenshots", "", "folder to write screenshots of the status page to")

// axNode is what a screen reader is given.
type axNode struct {
	Ignored    bool
	Role, Name struct{ Value any }
	Properties []struct {
		Name  string
		Value struct{ Value any }
	}
}

// spoken is what a screen reader is given of the page: names by role.
func (b *browser) spoken() map[string][]string {
	b.t.Helper()
	var tree struct{ Nodes []axNode }
	b.call("Accessibility.getFullAXTree", object{}, &tree)
	all := map[string][]string{}
	for _, n := range tree.Nodes {
		if !n.Ignored {
			role := fmt.Sprint(n.Role.Value)
			all[role] = append(all[role], fmt.Sprint(n.Name.Value))
		}
	}
	return all
}

// operated is three nodes that take an operator token.
func operated(t *testing.T) *plant {
	p := newPlant(t, plantOptions{nodes: 3, node: `"Timing": "lan", "Auth": {"OperatorTokenFile": "operator.token"},`, more: `"MinPollCycleTime": 0.5, "Failback": "manual",`})
	for _, n := range p.procs {
		p.put(filepath.Join(n.dir, "operator.token"), "s3cret\n")
		p.edit(filepath.Join(n.dir, "SCOMConnectorConfig.json"), `"ScomAddressHost": "sim"`, `"ScomAddressHost": "scom1"`, `{"MoogUrl"`, `{"MoogAddressDisplay": "lam1", "MoogUrl"`)
		n.start()
	}
	await(t, "the Primary leads", 30*time.Second, p.procs[0].leads)
	p.group.Populate(30, time.Hour)
	p.awaitAll(30 * time.Second)
	awaitVoters(t, p.procs[0], 3)
	return p
}

// led has this node lead: on a busy machine another one may have taken over.
func (pr *process) led() {
	t := pr.plant.t
	t.Helper()
	await(t, pr.id+" leads", time.Minute, func() bool {
		if pr.leads() {
			return true
		}
		scomconnector(t.(*testing.T), nil, "transfer", "--to", pr.id, "--url", pr.url, "--token-file", filepath.Join(pr.dir, "operator.token")) // refused until the others are ready
		return pr.leads()
	})
}

// One open page of a real node lives through an operator's night: it follows what happens without being loaded again, keeps what
// is focused and unfolded, has maintenance and a hand-over done by click, with and without JavaScript, follows a fail-over, and says that
// its node is gone when it is.
func TestThePageLives(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	p := operated(t)
	n1, n2 := p.procs[0], p.procs[1]
	part := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { b.t = t; f(t) })
	}
	part("what a screen reader is given", func(t *testing.T) {
		for _, width := range []int{360, 1920} {
			b.load(n1.url+"/", width)
			b.sees("it lives", 20*time.Second, `document.getElementById("pace").textContent.startsWith("Live")`)
			spoken := b.spoken()
			for role, want := range map[string]string{
				"banner": "", "main": "", "contentinfo": "", "status": "", "region": "Members", "table": "", "columnheader": "State", "rowheader": "alerts/default", "heading": "Who led, and why", "link": "enter…",
			} {
				names := spoken[role]
				if len(names) == 0 || want != "" && !slices.ContainsFunc(names, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("%d pixels: a screen reader finds no %s %q: %q", width, role, want, names)
				}
			}
			checkAccess(t, b)
		}
		for _, path := range []string{"/maintenance", "/settings", "/act/transfer"} {
			for _, width := range []int{360, 1920} {
				b.load(n1.url+path, width)
				checkAccess(t, b)
			}
		}
	})
	part("long texts and narrow windows", func(t *testing.T) {
		for _, path := range []string{"/maintenance", "/maintenance?node=secondary&action=enter", "/settings", "/act/transfer", "/act/rewind?pipeline=alerts/default&to=6h", "/act/retry-request?id=none"} {
			for _, width := range []int{360, 1920} {
				b.load(n1.url+path, width)
				var over int
				b.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth", &over)
				if over > 0 {
					t.Errorf("%s is %d pixels wider than a window of %d", path, over, width)
				}
			}
		}
		b.load(n1.url+"/settings", 360)
		// What is written in one line stands in one line, which scrolls inside its block, and its indentation leaves room for it.
		var lines, shown, indent float64
		b.ask(`document.querySelector("pre").textContent.trimEnd().split("\n").length`, &lines)
		b.ask(`(s => (document.querySelector("pre").clientHeight - parseFloat(s.paddingTop) - parseFloat(s.paddingBottom)) / parseFloat(s.lineHeight))(getComputedStyle(document.querySelector("pre")))`, &shown)
		b.ask(`Number(getComputedStyle(document.querySelector("pre")).tabSize)`, &indent)
		if shown > lines+1.5 || shown < lines-0.5 || indent > 2 {
			t.Errorf("the settings' %v lines take the room of %.1f at 360 pixels, with tabs of %v; want one each, and at most 2", lines, shown, indent)
		}
	})
	part("by keyboard", func(t *testing.T) {
		b.load(n1.url+"/", 1920)
		b.press("Tab", 9)
		var outline string
		b.ask(`document.activeElement.tagName + " " + getComputedStyle(document.activeElement).outlineStyle`, &outline)
		if outline != "A solid" {
			t.Errorf("the first Tab leads to %q, want a link with an outline", outline)
		}
	})
	part("the reader's own time", func(t *testing.T) {
		b.call("Emulation.setTimezoneOverride", object{"timezoneId": "Asia/Tokyo"}, nil)
		b.load(n1.url+"/", 1920)
		b.sees("times of Tokyo, with UTC", 10*time.Second, `/\d\d:\d\d:\d\d GMT\+9 \(\d\d:\d\d:\d\d UTC\)/.test(document.querySelector(".since time").textContent)`)
		b.call("Emulation.setTimezoneOverride", object{"timezoneId": ""}, nil)
	})
	part("figures follow, and nothing else moves", func(t *testing.T) {
		b.load(n1.url+"/", 1920)
		b.ask(`(() => { window.mark = 1; document.querySelector(".act").focus(); window.kept = document.activeElement; return 1 })()`, new(int))
		for range 5 {
			p.group.Raise(alertOf("one more"))
		}
		p.awaitAll(30 * time.Second)
		b.sees("more alerts processed", 20*time.Second, `+[...document.querySelectorAll(".tile")].find(e => e.textContent.includes("Total Alerts")).querySelector(".big").textContent >= 35`)
		b.sees("the same page with the same focus", time.Second, `window.mark === 1 && document.activeElement === window.kept && window.kept.isConnected`)
	})
	part("maintenance by click", func(t *testing.T) {
		n1.led()
		b.load(n1.url+"/", 1920)
		b.click(`a[href^="/maintenance?node=n1"]`)
		var says string
		b.ask(`document.querySelector("#effect").textContent`, &says)
		if !strings.Contains(says, "n1 finishes what it has begun and hands over to n2") {
			t.Errorf("before it is done the page says %q", says)
		}
		b.fill("#token", "s3cret")
		b.click(`form[aria-labelledby=order] button`)
		b.sees("done", 20*time.Second, `document.querySelector(".verdict").textContent.includes("n1 is in maintenance. n2 leads.")`)
		await(t, "n2 leads", 10*time.Second, n2.leads)
		b.load(n1.url+"/", 1920)
		b.sees("the page tells", 20*time.Second, `document.querySelector("a[href='/maintenance?node=n1&action=leave']") && document.querySelector(".lead .big").textContent === "n2"`)
		b.click(`a[href="/maintenance?node=n1&action=leave"]`)
		b.fill("#token", "s3cret")
		b.click(`form[aria-labelledby=order] button`)
		b.sees("undone", 20*time.Second, `document.querySelector(".verdict").textContent.includes("n1 is out of maintenance")`)
		for _, c := range b.complaints(n1.url) {
			t.Error(c)
		}
	})
	part("a hand-over without JavaScript", func(t *testing.T) {
		b.call("Emulation.setScriptExecutionDisabled", object{"value": true}, nil)
		defer b.call("Emulation.setScriptExecutionDisabled", object{"value": false}, nil)
		n2.led()
		b.load(n2.url+"/", 1920)
		b.click(`a[href="/act/transfer"]`)
		b.fill("#token", "wrong")
		b.click("form button")
		b.sees("refused", 5*time.Second, `document.querySelector(".verdict").textContent.includes("not the operator token")`)
		if n1.leads() {
			t.Error("a wrong token has handed over")
		}
		b.fill("#token", "s3cret")
		b.click("form button")
		b.sees("done", 20*time.Second, `document.querySelector(".verdict").textContent.includes("n1 leads.")`)
		await(t, "n1 leads", 10*time.Second, n1.leads)
	})
	part("a fail-over as it happens", func(t *testing.T) {
		n1.led()
		b.load(n2.url+"/", 1920)
		b.sees("n1 leads", 20*time.Second, `document.querySelector(".lead .big").textContent === "n1"`)
		b.ask(`window.mark = 2`, new(int))
		n1.kill()
		began := time.Now()
		b.sees("n2 leads, and why", 30*time.Second, `document.querySelector(".lead .big").textContent === "n2" && document.querySelector(".lead .small").textContent.includes("n1")`)
		t.Logf("the page shows the new leader %v after the old one was killed", time.Since(began).Round(time.Millisecond))
		b.sees("that n1 is away", 30*time.Second, `document.querySelector("h1").textContent.includes("n1 is not in contact") && document.title.startsWith("Amber") && document.querySelector("link[rel=icon]").href.includes("bf8700")`)
		b.sees("the same page", time.Second, `window.mark === 2`)
		for _, c := range b.complaints(n2.url) {
			t.Error(c)
		}
		n1.start()
		b.sees("that n1 is back", 60*time.Second, `document.title.startsWith("Green")`)
	})
	part("its node hangs, and is killed", func(t *testing.T) {
		b.load(n1.url+"/", 1920)
		b.sees("it lives", 20*time.Second, `document.getElementById("pace").textContent.startsWith("Live")`)
		const gone = `!document.getElementById("gone").hidden && document.title.startsWith("Gone: ")`
		for _, how := range []string{"hangs", "is killed", "is stopped"} {
			began := time.Now()
			switch how {
			case "hangs":
				n1.cmd.Process.Signal(syscall.SIGSTOP)
			case "is killed":
				n1.kill()
			case "is stopped":
				if err := n1.stop(); err != nil {
					t.Error(err)
				}
			}
			b.sees("that its node is gone", 30*time.Second, gone)
			t.Logf("the page says so %v after the node %s", time.Since(began).Round(100*time.Millisecond), how)
			var links []string
			b.ask(`[...document.querySelectorAll("#gone a")].map(a => a.href)`, &links)
			if want := []string{n2.url + "/", p.procs[2].url + "/"}; !slices.Equal(links, want) {
				t.Errorf("it links to %q, want %q", links, want)
			}
			var text string
			b.ask(`document.getElementById("gone-text").textContent`, &text)
			if want := map[bool]string{true: "n1 was stopped", false: "n1 does not answer"}[how == "is stopped"]; !strings.HasPrefix(text, want) {
				t.Errorf("it says %q, want %q", text, want)
			}
			if how == "hangs" {
				n1.cmd.Process.Signal(syscall.SIGCONT)
			} else {
				n1.start()
			}
			b.sees("that it is back", 60*time.Second, `document.getElementById("gone").hidden && !document.title.startsWith("Gone")`)
		}
	})
}

// The pictures of the README: go test ./test -run Screenshots -screenshots ../deploy/screenshots. Look at them before you commit them.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("needs -screenshots FOLDER")
	}
	b := newBrowser(t)
	p := operated(t)
	n1 := p.procs[0]
	for i := range 40 {
		p.group.Raise(alertOf(fmt.Sprintf("alert %d", i)))
	}
	p.awaitAll(30 * time.Second)
	await(t, "the rates are those of half a minute", time.Minute, func() bool {
		s, err := n1.status()
		return err == nil && time.Since(s.Verdict.Since) > 30*time.Second
	})
	// shoot takes the picture of what the window shows then.
	shoot := func(name string, width, height int, dark bool) {
		b.load(n1.url+"/", width)
		b.dark(dark)
		b.sees("it lives", 20*time.Second, `document.getElementById("pace").textContent.startsWith("Live")`)
		b.shoot(filepath.Join(*screenshots, name), width, height)
	}
	shoot("page-light.png", 1280, 900, false)
	shoot("page-phone.png", 390, 844, false)
	p.lam.Set(publishertest.Faults{Status: 401})
	p.group.Raise(alertOf("nobody is told of this one"))
	await(t, "the page is red", 30*time.Second, func() bool {
		s, err := n1.status()
		return err == nil && s.Verdict.Level == "stopped" && s.Pipelines[0].LagSeconds > 8
	})
	shoot("page-red-dark.png", 1280, 720, true)
	b.load(n1.url+"/maintenance?node=n1&action=enter", 1280)
	b.dark(false)
	b.shoot(filepath.Join(*screenshots, "maintenance.png"), 1280, 1150)
}
