"use strict";
// One item at a time. Whatever comes from a file is put in as text; the server decides what may be seen.
(() => {
  const byId = (id) => document.getElementById(id);
  const fields = document.body.dataset.fields.split(" ");
  const choices = [...document.querySelectorAll("button[data-field]")];
  const keys = Object.fromEntries(choices.map((button) => [button.querySelector("kbd").textContent, button]));
  const moves = { ArrowLeft: "back", ArrowRight: "next", Enter: "next", s: "skip", u: "undo" };
  let place = 0;
  let total = 0;
  let busy = Promise.resolve();

  // Odd pieces are the code points of characters that nobody can see.
  const put = (element, pieces) =>
    element.replaceChildren(
      ...pieces.map((piece, at) => {
        if (at % 2 === 0) return piece;
        const shown = document.createElement("span");
        shown.className = "ctl";
        shown.textContent = piece;
        return shown;
      }),
    );

  const line = (joint, ...parts) => {
    const made = document.createElement("p");
    parts.forEach((part, at) => {
      const isolated = document.createElement("bdi");
      put(isolated, typeof part === "string" ? [part] : part);
      made.append(at ? joint : "", isolated);
    });
    return made;
  };

  async function ask(path, body) {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(path, options);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  function show(item) {
    const moved = item.place !== place || !total;
    place = item.place;
    total = item.total;
    const finished = place >= total;
    byId("item").hidden = finished;
    byId("done").hidden = !finished;
    const counts = `${item.labelled} of ${total} labelled`;
    if (finished) {
      byId("where").textContent = counts;
      const left = total - item.labelled;
      byId("done").replaceChildren(
        line("", left ? `${left} left without a label: the arrow to the left goes back to them.` : "All labelled."),
        line("", "Every label is saved; Ctrl-C in the terminal ends the review."),
      );
      return;
    }
    byId("where").replaceChildren(...line(" · ", `${place + 1} of ${total}`, counts, ...item.about).childNodes);
    put(byId("prompt"), item.prompt);
    put(byId("response"), item.response);
    if (moved) byId("prompt").scrollTop = byId("response").scrollTop = 0;
    if (byId("rubric")) put(byId("rubric"), item.rubric);
    document.querySelectorAll("[data-meaning]").forEach((element) => {
      element.textContent = item.meanings[element.dataset.meaning];
    });
    choices.forEach((button) => {
      button.setAttribute("aria-pressed", String(item.labels[button.dataset.field] === button.dataset.value));
    });
    byId("others").hidden = !item.others;
    byId("others").replaceChildren(...(item.others || []).map(([who, what]) => line(": ", who, what)));
  }

  const open = async (to) => show(await ask(`item/${Math.min(Math.max(to, 0), total)}`));

  async function act(action, button) {
    if (action === "back") return open(place - 1);
    if (action === "next" || action === "skip") return open(place + 1);
    if (action === "undo") return show(await ask("undo", {}));
    if (place >= total) return undefined;
    const { field, value } = button.dataset;
    const item = await ask("label", { place, field, value });
    // On to the next once all that is asked for is there; a change of mind stays to be seen.
    const complete = fields.every((name) => item.labels[name]);
    if (complete && item.first) return open(place + 1);
    return show(item);
  }

  // One after the other, so that quick keys label the items that they were meant for.
  function queue(action, button) {
    busy = busy
      .then(() => act(action, button))
      .then(() => {
        byId("problem").hidden = true;
      })
      .catch((error) => {
        byId("problem").textContent = `Not saved: ${error.message || "the server is gone"}`;
        byId("problem").hidden = false;
      });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "Enter" && event.target.closest("button")) return;
    const button = keys[event.key.toLowerCase()];
    const action = button ? "label" : moves[event.key] || moves[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    queue(action, button);
  });
  choices.forEach((button) => button.addEventListener("click", () => queue("label", button)));
  document.querySelectorAll("button[data-action]").forEach((button) => {
    button.addEventListener("click", () => queue(button.dataset.action));
  });
  busy = ask("item/first").then(show);
})();
