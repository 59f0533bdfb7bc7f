// The page: steps one after the other, the chosen cell, exercises.

const element = (id) => document.getElementById(id);
const MOST_SOURCES = 12;  // tiles beside a step
const MOST_SHOWN = 16;  // numbers of one source in the inspector

async function unpacked(id) {
  const holder = element(id);
  const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
  holder.remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function main() {
  const data = JSON.parse(await unpacked("data"));
  const book = new Book(data);
  const state = { chosen: -1, sources: new Set(), kept: false };
  const page = new Page(data.steps, book, state);
  element("about").open = innerWidth >= 700;
  page.go(page.wished(), page.wished() > 1);
  await new Promise((done) => setTimeout(done));
  await book.prepare();
  page.refresh();
  document.body.dataset.ready = "yes";
}

class Page {
  constructor(steps, book, state) {
    Object.assign(this, { steps, book, state, cards: [], now: -1, views: new Set() });
    this.last = steps.length - 1;
    this.stepOf = new Map(steps.flatMap((step) => step.tiles.map((tile) => [book.tiles[tile], step])));
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting && !entry.target.view.window) entry.target.view.draw();
    }, { rootMargin: "300px" });
    this.listen();
  }

  listen() {
    const slider = element("slider"), flow = element("flow");
    slider.max = this.last;
    slider.addEventListener("input", () => this.go(Number(slider.value)));
    element("back").addEventListener("click", () => this.go(this.now - 1));
    element("forward").addEventListener("click", () => this.go(this.now + 1));
    element("all").addEventListener("click", () => this.go(this.last));
    element("reset").addEventListener("click", () => { this.book.undo(); this.refresh(); });
    addEventListener("hashchange", () => this.go(this.wished()));
    flow.addEventListener("pointerover", (event) => { if (event.pointerType !== "touch") this.point(event.target); });
    flow.addEventListener("focusin", (event) => this.point(event.target));
    flow.addEventListener("click", (event) => this.keep(event.target));
    flow.addEventListener("keydown", (event) => this.key(event));
    flow.addEventListener("input", (event) => this.answer(event.target));
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.letGo(); });
  }

  wished() {
    // "#7" in the address opens step 7.
    const text = location.hash.slice(1);
    return /^\d+$/.test(text) ? Math.min(Number(text), this.last) : Math.min(1, this.last);
  }

  // Steps

  go(number, scroll = true) {
    const step = Math.max(0, Math.min(this.last, number));
    const before = this.now;
    this.now = step;
    for (let n = 0; n <= step; n++) {
      this.cards[n] ??= this.card(n);
      if (!this.cards[n].isConnected) element("flow").append(this.cards[n]);
    }
    this.cards.forEach((card, n) => { card.hidden = n > step; card.classList.toggle("now", n === step); });
    if (before >= 0 && before !== step) this.sources(before, false);
    this.sources(step, true);
    for (const root of this.cards[step].querySelectorAll(".tile")) if (!root.view.window) root.view.draw();
    element("slider").value = step;
    element("where").value = `Step ${step} of ${this.last}`;
    element("back").disabled = step === 0;
    element("forward").disabled = element("all").disabled = step === this.last;
    if (scroll) this.cards[step].scrollIntoView({ block: "start" });
  }

  card(n) {
    const step = this.steps[n];
    const title = make("h2", { id: `title-${n}` }, make("span", { className: "number", textContent: n || "·" }), step.name);
    const card = make("section", { className: "step", id: `step-${n}` }, title);
    card.setAttribute("aria-labelledby", title.id);
    const asked = step.tiles.some((number) => this.book.tiles[number].blank);  // then the equation is a hint
    if (step.equation && !asked) card.append(make("p", { className: "equation", textContent: step.equation }));
    if (step.scope) card.append(make("p", { className: "scope", textContent: `computed by ${step.scope}` }));
    const takes = make("div", { className: "takes" });
    const gives = make("div", { className: "parts gives" });
    let count = 0;
    for (const number of step.tiles) {
      const tile = this.book.tiles[number];
      count += tile.formulas ? 1 : 0;
      const label = n ? (step.tiles.length > 1 ? `${n}.${count} ${tile.subtitle}` : tile.subtitle) : [tile.name, tile.subtitle].filter(Boolean).join(": ");
      gives.append(this.figure(tile, label));
    }
    if (n) card.append(make("div", { className: "body" }, takes, gives));
    else card.append(this.folded(gives, step.tiles.length));
    return card;
  }

  folded(gives, count) {
    // Many weights would hide the steps.
    const details = make("details", { open: count <= 6 }, make("summary", { textContent: `${count} matrices that the block is given` }), gives);
    return details;
  }

  figure(tile, label) {
    const view = new View(this.book, tile, this.state);
    const figure = make("figure", {}, make("figcaption", { textContent: label }), view.root);
    view.root.setAttribute("role", "group");
    view.root.setAttribute("aria-label", label || tile.name);
    if (tile.map) {
      view.scale = make("div", { className: "scale" });
      figure.append(view.scale);
    }
    if (tile.blank) figure.append(this.exercise(view));
    this.views.add(view);
    this.seen.observe(view.root);
    this.scale(view);
    return figure;
  }

  scale(view) {
    if (!view.scale) return;
    view.measure();
    view.scale.replaceChildren(short(view.range[0]), make("i"), short(view.range[1]));
  }

  sources(n, shown) {
    const takes = this.cards[n].querySelector(".takes");
    if (!takes) return;
    for (const root of takes.querySelectorAll(".tile")) {
      this.views.delete(root.view);
      this.seen.unobserve(root);
    }
    takes.replaceChildren();
    if (!shown) return;
    const found = this.taken(n), parts = make("div", { className: "parts" });
    for (const tile of found.slice(0, MOST_SOURCES)) {
      const from = this.stepOf.get(tile).number;
      const label = [from ? `[${from}] ${tile.name}` : tile.name, tile.subtitle].filter(Boolean).join(": ");
      parts.append(this.figure(tile, label));
    }
    if (found.length > MOST_SOURCES) parts.append(make("p", { className: "soft", textContent: `and ${found.length - MOST_SOURCES} more` }));
    takes.append(parts, make("p", { className: "becomes", textContent: "→ gives" }));
  }

  taken(n) {
    // The tiles that the formulas of a step refer to.
    const found = new Set();
    for (const number of this.steps[n].tiles) {
      const tile = this.book.tiles[number];
      tile.formulas?.forEach((formula, offset) => {
        if (!formula) return;
        for (const range of this.book.sources(tile.start + offset)) {
          const cell = this.book.cell(range.sheet, range.row, range.column);
          if (cell >= 0) found.add(this.book.tileOf(cell));
        }
      });
    }
    return [...found].sort((a, b) => a.start - b.start);
  }

  // The chosen cell

  point(target) {
    const cell = target.closest?.("td")?.cell;
    if (cell === undefined || this.state.kept) return;
    this.choose(cell);
  }

  keep(target) {
    const cell = target.closest?.("td")?.cell;
    if (cell === undefined || target.closest("input")) return;
    if (this.state.kept && this.state.chosen === cell) { this.letGo(); return; }
    this.state.kept = true;
    this.choose(cell);
    const view = target.closest(".tile").view;
    view.focus(...target.closest("td").at);
    for (const other of this.views) {
      const first = [...this.state.sources].find((source) => this.book.tileOf(source) === other.tile);
      if (first === undefined || !other.window) continue;
      const offset = first - other.tile.start;
      other.reveal(Math.floor(offset / other.tile.columns), offset % other.tile.columns);
    }
  }

  letGo() {
    this.state.kept = false;
    if (this.state.chosen >= 0) this.choose(this.state.chosen);
  }

  choose(cell) {
    this.state.chosen = cell;
    const hidden = this.book.secret(cell);
    const ranges = hidden ? [] : this.book.sources(cell);
    this.state.sources = new Set(ranges.flatMap((range) => cellsOf(range, this.book)).filter((source) => source >= 0));
    for (const view of this.views) view.marks();
    this.inspect(cell, ranges, hidden);
  }

  describe(cell) {
    const tile = this.book.tileOf(cell), step = this.stepOf.get(tile), offset = cell - tile.start;
    const names = [tile.row_names[Math.floor(offset / tile.columns)], tile.column_names[offset % tile.columns]].filter(Boolean);
    const name = step.number ? `[${step.number}] ${step.name}` : tile.name;
    return [name, tile.subtitle, names.join(", ")].filter(Boolean).join(" · ");
  }

  inspect(cell, ranges, hidden) {
    const book = this.book, list = make("dl"), formula = book.formula(cell);
    const add = (term, code, ...content) => list.append(make("dt", { textContent: term }), make("dd", { className: code ? "code" : "" }, ...content));
    if (hidden) {
      add("Exercise", false, "What stands here is yours to compute: see the hints below the matrix.");
    } else {
      add("Value", true, String(book.values[cell]).replace("-", "−"));
      if (formula) {
        add("In numbers", true, `= ${inWords(book.tree(cell), book, (source) => book.say(source))}`);
        add("Formula", true, formula.replaceAll("Solution!", ""));
        add("Computed from", false, ...ranges.map((range) => this.strip(range)));
        if (!book.changed.size) add("Off the model's number by", true, short(Math.abs(book.values[cell] - book.model[cell])));
      } else this.editor(cell, add);
    }
    const kept = this.state.kept ? " · kept: click it again, or press Escape, to let go" : "";
    const where = make("p", { className: "soft", textContent: `${book.address(cell)} · ${KINDS[book.kind(cell)]}${kept}` });
    element("inspector").replaceChildren(make("h2", { textContent: this.describe(cell) }), where, list);
  }

  strip(range) {
    const cells = cellsOf(range, this.book), strip = make("div", { className: "strip" });
    const first = cells[0] >= 0 ? this.book.tileOf(cells[0]) : null;
    for (const cell of cells.slice(0, MOST_SHOWN)) {
      const box = make("b", { textContent: this.book.say(cell) });
      if (cell >= 0) box.style.background = COLOURS[this.book.kind(cell)];
      strip.append(box);
    }
    if (cells.length > MOST_SHOWN) strip.append(`… ${cells.length} numbers`);
    const name = first ? this.describe(cells[0]) : "";
    const end = range.rows * range.columns > 1 ? `:${addressOf(range.row + range.rows - 1, range.column + range.columns - 1)}` : "";
    const sheet = range.sheet === "Solution" ? "Steps" : range.sheet;
    return make("div", {}, make("span", { className: "soft", textContent: `${sheet}!${addressOf(range.row, range.column)}${end}  ${name}` }), strip);
  }

  editor(cell, add) {
    if (!this.state.kept) {
      add("Change it", false, "click the cell (or press Enter) first");
      return;
    }
    const box = make("input", { type: "text", inputMode: "decimal", id: "change", value: String(this.book.values[cell]) });
    const note = make("span", { className: "refused", role: "alert" });
    box.setAttribute("aria-label", "New value");
    box.addEventListener("change", () => {
      const value = number(box.value);
      if (!Number.isFinite(value)) { note.textContent = " This is no number."; return; }
      this.book.change(cell, value);
      this.refresh();
    });
    add("Change it, and everything follows", false, box, note);
  }

  key(event) {
    const td = event.target.closest?.("td");
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!td || td.cell === undefined) return;
    const inBox = event.target.tagName === "INPUT";
    if (event.key in moves && !(inBox && event.key.startsWith("ArrowL")) && !(inBox && event.key.startsWith("ArrowR"))) {
      const [rows, columns] = moves[event.key];
      td.closest(".tile").view.focus(td.at[0] + rows, td.at[1] + columns);
      event.preventDefault();
    } else if (!inBox && (event.key === "Enter" || event.key === " ")) {
      this.keep(td);
      event.preventDefault();
      element("change")?.focus();
    }
  }

  // After a change

  refresh() {
    const changed = this.book.changed.size;
    for (const view of this.views) {
      if (view.window) view.draw(true);
      this.scale(view);
    }
    element("reset").hidden = !changed;
    element("agreement").value = changed
      ? `${changed} ${changed === 1 ? "number" : "numbers"} changed, ${this.book.work.length} formulas computed again`
      : `${this.book.work.length} formulas, ≤ ${short(this.book.difference())} off the model`;
    this.score();
    if (this.state.chosen >= 0) this.choose(this.state.chosen);
  }

  // Exercises

  exercise(view) {
    const { tile } = view, step = this.stepOf.get(tile);
    const first = tile.start + tile.formulas.findIndex(Boolean);
    const hint = make("p", { className: "hint" }), tools = make("div", { className: "tools" });
    hint.setAttribute("aria-live", "polite");
    const hints = [
      () => `${step.name}: ${step.equation}`,
      () => `The first cell: ${this.book.formula(first).replaceAll("Solution!", "")}, which is ${inWords(this.book.tree(first), this.book, (cell) => this.book.say(cell))}`,
    ];
    let given = 0;
    const more = make("button", { type: "button", textContent: "Hint" });
    more.addEventListener("click", () => { hint.textContent = hints[Math.min(given++, 1)](); more.textContent = given < 2 ? "Another hint" : "Hint"; });
    const show = make("button", { type: "button", textContent: "Solution", ariaPressed: "false" });
    show.addEventListener("click", () => {
      const revealed = this.book.revealed;
      if (!revealed.delete(tile)) revealed.add(tile);
      show.ariaPressed = String(revealed.has(tile));
      this.refresh();
    });
    tools.append(more, show);
    return make("div", {}, tools, hint);
  }

  answer(box) {
    const td = box.closest("td");
    if (td?.cell === undefined) return;
    this.book.answers.set(td.cell, box.value);
    for (const view of this.views) {
      if (view.tile !== this.book.tileOf(td.cell)) continue;
      for (const other of (view.cells || []).flat().filter((each) => each.cell === td.cell && each !== td)) {
        const twin = other.querySelector("input");
        if (twin) { twin.value = box.value; view.judge(other); }
      }
    }
    td.closest(".tile").view.judge(td);
    this.score();
  }

  score() {
    if (this.book.tolerance === null) return;
    let asked = 0, right = 0;
    for (const tile of this.book.tiles.filter((each) => each.blank)) {
      tile.formulas.forEach((formula, offset) => {
        if (!formula) return;
        asked++;
        if (!this.book.revealed.has(tile) && this.book.verdict(tile.start + offset) === "right") right++;
      });
    }
    element("score").hidden = false;
    element("score").value = `Right: ${right} of ${asked}`;
  }
}

main();
