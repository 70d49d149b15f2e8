"use strict";
// The list of responses. Every text is untrusted: it reaches the page through textContent alone, and the page's
// policy forbids everything that would read a string as markup or code.
(async () => {
  const PAGE = 50;
  const SEPARATOR = " › ";
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/u;
  const JOINERS = "\n\t\u200c\u200d";

  const byId = (id) => document.getElementById(id);
  const binary = atob(byId("data").textContent);
  const packed = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) packed[at] = binary.charCodeAt(at); // a callback each would take seconds
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(unpacked).text());
  const items = data.rows.map((row) => Object.fromEntries(data.columns.map((name, at) => [name, row[at]])));
  const list = byId("items");
  let shown = items;
  let page = 0;

  /* Elements */

  function make(element, className, ...children) {
    const node = document.createElement(element);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // What cannot be seen, or would turn the text around, is shown by its code point.
  function visible(text) {
    const parts = [];
    let run = "";
    for (const character of text.replace(/\r\n/g, "\n")) {
      if (UNSEEN.test(character) && !JOINERS.includes(character)) {
        const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
        parts.push(run, make("span", "ctl", `U+${code}`));
        run = "";
      } else run += character;
    }
    return [...parts, run];
  }

  const name = (text, className) => make("bdi", className, ...visible(text));
  const words = (label) => label.replaceAll("_", " ");
  const chip = (label) => make("span", `chip v-${label}`, ...visible(words(label)));
  const percent = (p) => `${(100 * p).toFixed(p > 0.995 || p < 0.005 ? 1 : 0)} %`;
  const confidence = (item) => (item.p_declined == null ? null : Math.max(item.p_declined, 1 - item.p_declined));
  const place = (item) => [item.suite, item.subset].filter(Boolean).join(" · ");

  /* Filters: each has options [value, label] and says whether an item has a value. */

  function tally(valuesOf) {
    const counts = new Map();
    for (const item of items) for (const value of valuesOf(item)) counts.set(value, (counts.get(value) || 0) + 1);
    return counts;
  }

  function choice(key, label, valuesOf, labelOf = words) {
    const options = [...tally(valuesOf)].map(([value, n]) => [value, `${labelOf(value)} (${n.toLocaleString("en")})`]);
    return { key, label, options, has: (item, value) => valuesOf(item).includes(value) };
  }

  const groups = (item) => {
    if (!item.category && !item.subcategory) return [];
    if (!item.subcategory) return [item.category];
    return [item.category || "–", `${item.category || "–"}${SEPARATOR}${item.subcategory}`];
  };
  const BANDS = [["below 60 %", 0, 0.6], ["60 to 80 %", 0.6, 0.8], ["80 to 95 %", 0.8, 0.95], ["95 % and more", 0.95, 2]];
  const bandOf = (item) => BANDS.filter(([, low, high]) => confidence(item) >= low && confidence(item) < high);
  const CHANGES = { worse: "became worse", better: "became better", changed: "changed", same: "did not change" };
  const agreement = (item) => (item.agrees == null ? ["not labelled"] : [item.agrees ? "same label" : "another label"]);

  const filters = [
    choice("place", "Set", (item) => [place(item)], (text) => text),
    choice("group", "Category", groups, (text) => text),
    choice("model", "Model", (item) => [item.model || "(not named)"], (text) => text),
    choice("outcome", "Verdict", (item) => [item.outcome]),
    choice("confidence", "Confidence", (item) => (confidence(item) == null ? [] : bandOf(item).map(([label]) => label))),
    choice("flag", "Flag", (item) => (item.flags && item.flags.length ? item.flags : ["no flag"])),
    choice("label", "Label", (item) => (item.label ? [item.label] : [])),
    choice("agreement", "Agreement", data.columns.includes("agrees") ? agreement : () => []),
    choice("change", "Since the baseline", (item) => (item.change ? [item.change] : []), (value) => CHANGES[value]),
  ].filter((filter) => filter.options.length > 1);
  filters.find((filter) => filter.key === "group")?.options.sort(([a], [b]) => (a < b ? -1 : 1));

  const SORTS = {
    file: ["As in the file", null],
    unsure: ["Least certain first", (a, b) => (confidence(a) ?? 2) - (confidence(b) ?? 2)],
    sure: ["Most certain first", (a, b) => (confidence(b) ?? -1) - (confidence(a) ?? -1)],
    moved: ["Moved most first", (a, b) => moved(b) - moved(a)],
  };
  const moved = (item) => Math.abs((item.p_declined ?? 0) - (item.p_declined_before ?? item.p_declined ?? 0));
  if (!data.columns.includes("p_declined_before")) delete SORTS.moved;

  const inputs = {};

  function field(key, label, input, className) {
    inputs[key] = input;
    input.name = key;
    byId("filters").append(make("label", className, label, input));
  }

  function select(options) {
    const node = make("select");
    for (const [value, label] of options) {
      const option = make("option", "", ...visible(label).map((part) => part.textContent ?? part));
      option.value = value;
      node.append(option);
    }
    node.addEventListener("change", update);
    return node;
  }

  const search = make("input");
  search.type = "search";
  search.autocomplete = "off";
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  field("search", "Search in prompts and responses", search, "search");
  for (const { key, label, options } of filters) field(key, label, select([["", "all"], ...options]));
  field("sort", "Order", select(Object.entries(SORTS).map(([key, [label]]) => [key, label])));
  const reset = make("button", "", "Clear filters");
  reset.type = "reset";
  byId("filters").append(make("label", "", "\u00a0", reset));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(update));

  function haystack(item) {
    item.haystack ??= [item.key, item.prompt, item.response, item.response_before, item.label].join("\n").toLowerCase();
    return item.haystack;
  }

  function update() {
    const wanted = filters.filter(({ key }) => inputs[key].value !== "");
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = items.filter(
      (item) =>
        wanted.every(({ key, has }) => has(item, inputs[key].value)) &&
        terms.every((term) => haystack(item).includes(term)),
    );
    const order = SORTS[inputs.sort.value || "file"][1];
    if (order) shown.sort(order);
    turn(0);
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} responses`;
    byId("export").disabled = shown.length === 0;
  }

  /* The list, a page at a time */

  function turn(to) {
    page = to;
    list.replaceChildren(...shown.slice(PAGE * page, PAGE * (page + 1)).map(entry));
    list.start = PAGE * page + 1;
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    const step = (label, target) => {
      const button = make("button", "", label);
      button.type = "button";
      button.disabled = target < 0 || target > last;
      button.addEventListener("click", () => {
        turn(target);
        byId("responses").scrollIntoView();
      });
      return button;
    };
    byId("pages").replaceChildren(step("Previous", page - 1), `page ${page + 1} of ${last + 1}`, step("Next", page + 1));
  }

  function entry(item) {
    const node = make("li", "item");
    const head = make(
      "button",
      "head",
      chip(item.outcome),
      make("span", "p", item.p_declined == null ? "–" : percent(confidence(item))),
      make("span", "where", name(item.subcategory || item.category || place(item))),
      make("span", "snippet", name((item.prompt ?? item.response ?? item.key).slice(0, 300))),
    );
    const tags = tagsOf(item);
    if (tags.length) head.append(make("span", "tags", ...tags));
    head.type = "button";
    head.setAttribute("aria-expanded", "false");
    const body = make("div", "body");
    body.hidden = true;
    head.addEventListener("click", () => toggle(node, item));
    node.append(head, body);
    return node;
  }

  function tagsOf(item) {
    const tags = (item.flags || []).map((flag) => make("span", "tag", ...visible(words(flag))));
    if (item.agrees === false) tags.push(make("span", "tag bad", ...visible(`labelled ${words(item.label)}`)));
    if (item.change && item.change !== "same") {
      const tone = { worse: " bad", better: " good" }[item.change] || "";
      tags.push(make("span", `tag${tone}`, `${CHANGES[item.change]}: was ${words(item.before)}`));
    }
    return tags;
  }

  function toggle(node, item, open = node.lastChild.hidden) {
    node.lastChild.replaceChildren(...(open ? details(item) : []));
    node.lastChild.hidden = !open;
    node.firstChild.setAttribute("aria-expanded", String(open));
  }

  function details(item) {
    const facts = make("dl");
    const fact = (label, ...value) => facts.append(make("dt", "", label), make("dd", "", ...value));
    fact("id", name(item.key));
    if (item.model) fact("model", name(item.model));
    fact("set", name([place(item), item.category, item.subcategory].filter(Boolean).join(SEPARATOR)));
    if (item.p_noncompliance != null) fact("verdict", `${item.verdict}, noncompliance ${percent(item.p_noncompliance)}`);
    if (item.refusal && item.p_refusal != null) fact("refusal class", `${words(item.refusal)}, refusal ${percent(item.p_refusal)}`);
    if (item.label) fact("label", ...visible(words(item.label)), " (", name(data.judge || "judge"), ")");
    if (item.before) fact("in the baseline", `${words(item.before)}${item.p_declined_before == null ? "" : `, declined ${percent(item.p_declined_before)}`}`);
    const copy = make("button", "copy", "Copy link");
    copy.type = "button";
    copy.addEventListener("click", () => copyLink(item, copy));
    const parts = [facts];
    const text = (title, content) => {
      const box = make("div", "text", ...content);
      box.tabIndex = 0; // long texts scroll, and the keyboard must reach them
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", title);
      box.dir = "auto";
      parts.push(make("div", "small", title), box);
    };
    if (item.prompt != null) text("Prompt", visible(item.prompt));
    if (item.response_before != null && item.response_before !== item.response)
      text("Response in the baseline", visible(item.response_before));
    if (item.response != null) text("Response", marked(item.response, item.spans || []));
    if (item.prompt == null && item.response == null)
      parts.push(make("p", "note", "No texts here: give the file of completions in place of the results folder to read them."));
    return [...parts, copy];
  }

  // Spans count code points; JavaScript's strings do not.
  function marked(text, spans) {
    if (!spans.length) return visible(text);
    const points = Array.from(text);
    const parts = [];
    let at = 0;
    for (const [start, end, weight] of [...spans].sort((a, b) => a[0] - b[0])) {
      if (start < at) continue;
      const mark = make("mark", weight < 0 ? "against" : "", ...visible(points.slice(start, end).join("")));
      mark.style.setProperty("--w", String(Math.min(1, Math.abs(weight))));
      mark.title = `${weight < 0 ? "towards compliance" : "towards noncompliance"}, ${Math.abs(weight).toFixed(2)}`;
      parts.push(...visible(points.slice(at, start).join("")), mark);
      at = end;
    }
    return [...parts, ...visible(points.slice(at).join(""))];
  }

  /* Links */

  function linkOf(item) {
    return `${location.href.split("#")[0]}#id=${encodeURIComponent(item.key)}`;
  }

  async function copyLink(item, button) {
    history.replaceState(null, "", linkOf(item));
    let copied = false;
    try {
      await navigator.clipboard.writeText(linkOf(item));
      copied = true;
    } catch {
      // A page from a file may not be let at the clipboard; the address bar holds the link.
    }
    button.textContent = copied ? "Copied" : "The link is in the address bar";
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  }

  function openLinked() {
    if (!location.hash.startsWith("#id=")) return;
    let key;
    try {
      key = decodeURIComponent(location.hash.slice(4));
    } catch {
      return; // no link of ours
    }
    if (!shown.some((item) => item.key === key)) {
      byId("filters").reset();
      update();
    }
    const at = shown.findIndex((item) => item.key === key);
    if (at < 0) return;
    turn(Math.floor(at / PAGE));
    const node = list.children[at % PAGE];
    toggle(node, shown[at], true);
    node.firstChild.focus();
    node.scrollIntoView({ block: "start" });
  }
  addEventListener("hashchange", openLinked);

  // Names and cells elsewhere in the page choose what the list shows.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-show]");
    if (!link) return;
    event.preventDefault();
    const wanted = JSON.parse(link.dataset.show);
    for (const { key } of filters) {
      const known = [...inputs[key].options].some((option) => option.value === wanted[key]);
      inputs[key].value = known ? wanted[key] : "";
    }
    update();
    byId("responses").scrollIntoView();
    list.querySelector(".head")?.focus({ preventScroll: true });
  });

  /* Export */

  byId("export").addEventListener("click", () => {
    const hidden = new Set(["key", "haystack"]);
    const kept = ([name, value]) => !hidden.has(name) && value !== null && !(Array.isArray(value) && !value.length);
    const lines = shown.map((item) => JSON.stringify(Object.fromEntries(Object.entries(item).filter(kept))) + "\n");
    const link = make("a");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
    link.download = "selection.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  /* Keys */

  function step(by) {
    const heads = [...list.querySelectorAll(".head")];
    const at = heads.indexOf(document.activeElement?.closest?.(".item")?.firstChild);
    let to = at < 0 ? (by > 0 ? 0 : heads.length - 1) : at + by;
    const last = Math.ceil(shown.length / PAGE) - 1;
    if (to >= heads.length && page < last) {
      turn(page + 1);
      to = 0;
    } else if (to < 0 && page > 0) {
      turn(page - 1);
      to = PAGE - 1;
    }
    const head = list.children[Math.max(0, Math.min(to, list.children.length - 1))]?.firstChild;
    head?.focus();
    head?.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    const node = event.target.closest?.(".item");
    if (event.key === "Escape" && typing) event.target.blur();
    else if (event.key === "Escape" && node) {
      toggle(node, shown[PAGE * page + [...list.children].indexOf(node)], false);
      node.firstChild.focus();
    } else if (typing) return;
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") search.focus();
    else return;
    event.preventDefault();
  });

  update();
  openLinked();
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
})();
