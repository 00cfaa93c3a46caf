// What an accessibility checker asks of a page, as far as a program can: each fault in a sentence.
(() => {
  const faults = [];
  const all = selector => [...document.querySelectorAll(selector)];
  const words = e => e.textContent.trim();
  const where = e => e.outerHTML.slice(0, 90);
  const shown = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";

  if (!document.documentElement.lang) faults.push("the page has no language");
  if (!document.title) faults.push("the page has no title");
  for (const [landmark, most] of [["main", 1], ["h1", 1], ["footer", 1]]) {
    if (all(landmark).filter(shown).length !== most) faults.push(`${all(landmark).length} of ${landmark}, want ${most}`);
  }
  const ids = all("[id]").map(e => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} twice`);
  for (const e of all("[aria-labelledby], [aria-describedby]")) {
    for (const id of (e.getAttribute("aria-labelledby") || "").split(" ").concat((e.getAttribute("aria-describedby") || "").split(" "))) {
      if (id && !document.getElementById(id)) faults.push(`nothing is called ${id}: ${where(e)}`);
    }
  }
  for (const e of all("section")) {
    if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) faults.push(`a section without a name: ${where(e)}`);
  }
  let level = 0;
  for (const e of all("h1, h2, h3, h4").filter(shown)) {
    if (+e.tagName[1] > level + 1) faults.push(`a heading of level ${e.tagName[1]} after one of level ${level}: ${words(e)}`);
    level = +e.tagName[1];
  }
  for (const e of all("th")) if (!e.scope) faults.push(`a heading of a table that says not of what: ${where(e)}`);
  for (const e of all("tbody tr:not(.error)")) if (!e.querySelector("th[scope=row]")) faults.push(`a row without a heading: ${where(e)}`);
  for (const e of all("a, button, summary")) if (!words(e)) faults.push(`nothing to read on ${where(e)}`);
  for (const e of all("input:not([type=hidden]), select")) if (!e.labels.length) faults.push(`a field without a label: ${where(e)}`);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) faults.push(`an order of its own for the keyboard: ${where(e)}`);

  // Contrast: WCAG 2.1 AA, 4.5 to 1, or 3 to 1 for large text.
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
  const light = rgb => rgb.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a === 1) return c.rgb; }
    return [255, 255, 255];
  };
  const told = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || !shown(e) || e.closest(".stale, script, style")) continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && +style.fontWeight >= 700;
    const [a, b] = [light(parse(style.color).rgb), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    const what = `${e.tagName}.${e.className} ${style.color} on ${behind(e)}`;
    if (ratio < (large ? 3 : 4.5) && !told.has(what)) faults.push(`contrast ${ratio.toFixed(2)}: ${what}: ${words(e).slice(0, 40)}`);
    told.add(what);
  }
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) faults.push(`the page is ${over} pixels wider than the window`);
  return faults;
})()
