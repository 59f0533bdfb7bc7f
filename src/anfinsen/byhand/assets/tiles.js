// The cells of the page, by number and by address, and matrices on the screen.

const KINDS = { i: "input", w: "weight", c: "outside", h: "held", f: "intermediate result", o: "result of the block" };
const COLOURS = { i: "#cfe2f3", w: "#fff2cc", c: "#d9d9d9", h: "#bfbfbf", f: "#ffffff", o: "#d9ead3" };
const BLANK = "#fce4ec";
const ROW = 24, LETTER = 7.6, MARGIN = 13;  // pixels
const WHOLE = 1200;  // cells of a tile that is drawn at once; larger ones are drawn where they are seen
const AT_ONCE = 2000;  // formulas, before the page gets to do other things

class Book {
  constructor(data) {
    this.tiles = data.tiles;
    this.tolerance = data.tolerance;
    this.rows = {};  // by sheet and row: the tiles that have cells there
    let size = 0;
    for (const tile of this.tiles) {
      tile.start = size;
      size += tile.rows * tile.columns;
      const sheet = this.rows[tile.sheet] ??= new Map();
      for (let row = tile.row; row < tile.row + tile.rows; row++) sheet.set(row, [...(sheet.get(row) || []), tile]);
    }
    this.model = new Float64Array(this.tiles.flatMap((tile) => tile.values));
    this.values = this.model.slice();
    this.trees = new Map();
    this.ranges = new Map();
    this.work = [];  // [cell, function] in the order in which the model computes
    this.changed = new Map();
    this.answers = new Map();
    this.revealed = new Set();
  }

  cell(sheet, row, column) {
    for (const tile of this.rows[sheet]?.get(row) || []) {
      if (column >= tile.column && column < tile.column + tile.columns) {
        const offset = (row - tile.row) * tile.columns + column - tile.column;
        return tile.kinds[offset] === "." ? -1 : tile.start + offset;
      }
    }
    return -1;
  }

  tileOf(cell) {
    let low = 0, high = this.tiles.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tiles[middle].start <= cell) low = middle; else high = middle - 1;
    }
    return this.tiles[low];
  }

  formula(cell) {
    const tile = this.tileOf(cell);
    return tile.formulas ? tile.formulas[cell - tile.start] : "";
  }

  tree(cell) {
    if (!this.trees.has(cell)) this.trees.set(cell, parsed(this.formula(cell)));
    return this.trees.get(cell);
  }

  kind(cell) {
    const tile = this.tileOf(cell);
    return tile.kinds[cell - tile.start];
  }

  sources(cell) {
    return this.formula(cell) ? rangesOf(this.tree(cell)) : [];
  }

  address(cell) {
    const tile = this.tileOf(cell), offset = cell - tile.start;
    const row = tile.row + Math.floor(offset / tile.columns), column = tile.column + (offset % tile.columns);
    return `${tile.blank ? "Steps" : tile.sheet}!${addressOf(row, column)}`;
  }

  async prepare() {
    for (const tile of this.tiles.filter((each) => each.formulas)) {
      for (let n = 0; n < tile.formulas.length; n++) {
        if (!tile.formulas[n]) continue;
        this.work.push([tile.start + n, compiled(this.tree(tile.start + n), this)]);
        if (this.work.length % AT_ONCE === 0) await new Promise((done) => setTimeout(done));
      }
    }
    this.compute();
  }

  compute() {
    for (const [cell, work] of this.work) this.values[cell] = work(this.values);
  }

  difference() {
    return this.work.reduce((most, [cell]) => Math.max(most, Math.abs(this.values[cell] - this.model[cell])), 0);
  }

  change(cell, value) {
    if (value === this.model[cell]) this.changed.delete(cell); else this.changed.set(cell, value);
    this.values[cell] = value;
    this.compute();
  }

  undo() {
    for (const cell of this.changed.keys()) this.values[cell] = this.model[cell];
    this.changed.clear();
    this.compute();
  }

  // Exercises

  asked(cell) {
    const tile = this.tileOf(cell);
    return Boolean(tile.blank && tile.formulas[cell - tile.start]);
  }

  verdict(cell) {
    // As the workbook judges: what is no number is not judged.
    const text = (this.answers.get(cell) || "").trim();
    const answer = number(text);
    if (!text || Number.isNaN(answer)) return "…";
    const value = this.values[cell];
    return Math.abs(answer - value) <= this.tolerance * Math.abs(value) + 1e-9 ? "right" : "wrong";
  }

  secret(cell) {
    return this.asked(cell) && !this.revealed.has(this.tileOf(cell)) && this.verdict(cell) !== "right";
  }

  say(cell) {
    if (cell < 0) return "0";
    return this.secret(cell) ? "?" : short(this.values[cell]);
  }
}

const number = (text) => (text.trim() === "" ? NaN : Number(text.trim().replace(",", ".").replace("−", "-")));

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function written(values) {
  // How the numbers of a tile are written, all alike.
  const sizes = values.map(Math.abs).filter((size) => size > 0);
  const most = sizes.reduce((a, b) => Math.max(a, b), 0);
  if (values.every(Number.isInteger) && most < 1e6) return (value) => String(value || 0).replace("-", "−");
  if (most >= 1e5 || most < 1e-2) return (value) => (value ? value.toExponential(1).replace("-", "−").replace("e-", "e−").replace("e+", "e") : "0");
  return (value) => (Math.abs(value) < 5e-4 ? "0.000" : value.toFixed(3).replace("-", "−"));
}

const shade = (share) => `rgb(${[255, 255, 255].map((white, n) => Math.round(white + ([111, 168, 220][n] - white) * share)).join(" ")})`;

class View {
  // A tile on the screen. `state` has chosen (a cell, or -1) and sources (a set of cells).
  constructor(book, tile, state) {
    Object.assign(this, { book, tile, state, window: "" });
    this.root = make("div", { className: "tile", tabIndex: -1 });
    this.named = tile.column_names.length > 0;
    const lines = Math.min(tile.rows + Number(this.named), 17);
    this.root.style.minHeight = `${lines * ROW + 2}px`;
    this.root.addEventListener("scroll", () => this.draw());
    this.root.view = this;
    this.active = [0, 0];
  }

  numbers() {
    return Array.from(this.book.values.subarray(this.tile.start, this.tile.start + this.tile.rows * this.tile.columns));
  }

  draw(force = false) {
    const { tile, root } = this;
    const whole = tile.rows * tile.columns <= WHOLE;
    if (force || !this.width) this.measure();
    const first = (scroll, size, margin) => (whole ? 0 : Math.max(0, Math.floor(scroll / size / 8) * 8 - margin));
    const r0 = first(root.scrollTop, ROW, 8), c0 = first(root.scrollLeft, this.width, 4);
    const r1 = whole ? tile.rows : Math.min(tile.rows, r0 + 44);
    const c1 = whole ? tile.columns : Math.min(tile.columns, c0 + 24 + Math.ceil(1100 / this.width));
    const window = [r0, r1, c0, c1].join();
    if (!force && window === this.window) return;
    this.window = window;
    Object.assign(this, { r0, r1, c0, c1, cells: [] });
    const focused = root.contains(document.activeElement) && document.activeElement !== root;
    const table = make("table");
    table.setAttribute("aria-rowcount", tile.rows);
    table.append(this.widths(), ...(this.named ? [make("thead", {}, this.head())] : []), this.body());
    root.replaceChildren(table);
    if (focused) this.focus(...this.active, false);
  }

  measure() {
    const values = this.numbers();
    this.text = written(values.filter((_, n) => this.tile.kinds[n] !== "."));
    const longest = (texts) => texts.reduce((most, text) => Math.max(most, text.length), 0);
    const letters = Math.max(longest(values.map(this.text)), Math.min(longest(this.tile.column_names), 14), this.tile.blank ? 9 : 2);
    this.width = Math.round(letters * LETTER + MARGIN);
    this.side = Math.round(Math.min(longest(this.tile.row_names), 22) * LETTER + MARGIN);
    const shown = values.filter((_, n) => this.tile.kinds[n] !== ".");
    this.range = [Math.min(...shown.slice(0, 60000)), Math.max(...shown.slice(0, 60000))];
  }

  widths() {
    const { tile, c0, c1 } = this;
    const columns = make("colgroup");
    const sizes = [...(tile.row_names.length ? [this.side] : []), c0 * this.width, ...Array(c1 - c0).fill(this.width), (tile.columns - c1) * this.width];
    for (const size of sizes) columns.append(make("col", { style: `width:${size}px` }));
    return columns;
  }

  head() {
    const row = make("tr");
    if (this.tile.row_names.length) row.append(make("th"));
    row.append(make("td", { className: "gap" }));
    for (let column = this.c0; column < this.c1; column++) {
      const name = this.tile.column_names[column];
      row.append(make("th", { scope: "col", textContent: name, title: name }));
    }
    row.append(make("td", { className: "gap" }));
    return row;
  }

  body() {
    const body = make("tbody");
    const space = (rows) => { const row = make("tr", { ariaHidden: "true" }); row.style.height = `${rows * ROW}px`; return row; };
    if (this.r0) body.append(space(this.r0));
    for (let r = this.r0; r < this.r1; r++) {
      const row = make("tr"), cells = [];
      if (this.tile.row_names.length) row.append(make("th", { scope: "row", textContent: this.tile.row_names[r], title: this.tile.row_names[r] }));
      row.append(make("td", { className: "gap" }));
      for (let c = this.c0; c < this.c1; c++) cells.push(this.entry(r, c));
      row.append(...cells, make("td", { className: "gap" }));
      this.cells.push(cells);
      body.append(row);
    }
    if (this.r1 < this.tile.rows) body.append(space(this.tile.rows - this.r1));
    return body;
  }

  entry(r, c) {
    const offset = r * this.tile.columns + c, cell = this.tile.start + offset, kind = this.tile.kinds[offset];
    if (kind === ".") return make("td", { className: "none" });
    const td = make("td", { tabIndex: r === this.active[0] && c === this.active[1] ? 0 : -1 });
    td.cell = cell;
    td.at = [r, c];
    td.style.background = this.tile.map ? this.shade(cell) : COLOURS[kind];
    if (this.book.asked(cell)) this.box(td, cell); else td.textContent = this.text(this.book.values[cell]);
    this.mark(td);
    return td;
  }

  shade(cell) {
    const [low, high] = this.range;
    return shade(high > low ? (this.book.values[cell] - low) / (high - low) : 0);
  }

  box(td, cell) {
    td.style.background = BLANK;
    td.classList.add("blank");
    if (this.book.revealed.has(this.tile)) {
      td.classList.remove("blank");
      td.textContent = this.text(this.book.values[cell]);
      return;
    }
    const box = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", value: this.book.answers.get(cell) || "" });
    box.setAttribute("aria-label", this.nameOf(...td.at) || "answer");
    td.append(box, make("span"));
    td.tabIndex = -1;
    this.judge(td);
  }

  judge(td) {
    const verdict = this.book.verdict(td.cell);
    td.classList.toggle("right", verdict === "right");
    td.classList.toggle("wrong", verdict === "wrong");
    td.lastChild.textContent = { right: "✓", wrong: "✗" }[verdict] || "…";
    td.title = verdict === "…" ? "" : verdict;
  }

  nameOf(r, c) {
    return [this.tile.row_names[r], this.tile.column_names[c]].filter(Boolean).join(", ");
  }

  mark(td) {
    td.classList.toggle("chosen", td.cell === this.state.chosen);
    td.classList.toggle("source", this.state.sources.has(td.cell));
    td.classList.toggle("changed", this.book.changed.has(td.cell));
  }

  marks() {
    for (const row of this.cells || []) for (const td of row) if (td.cell !== undefined) this.mark(td);
  }

  focus(r, c, scroll = true) {
    const { tile, root } = this;
    this.cells?.flat().forEach((td) => { if (td.tabIndex === 0) td.tabIndex = -1; });
    this.active = [Math.max(0, Math.min(tile.rows - 1, r)), Math.max(0, Math.min(tile.columns - 1, c))];
    if (scroll) this.reveal(...this.active);
    const td = this.cells?.[this.active[0] - this.r0]?.[this.active[1] - this.c0];
    if (!td || td.cell === undefined) return;
    const box = td.querySelector("input");
    if (!box) td.tabIndex = 0;
    (box || td).focus({ preventScroll: true });
    if (!scroll) return;
    const place = root.getBoundingClientRect();
    if (place.top < 60 || place.bottom > innerHeight) root.scrollIntoView({ block: "nearest" });
  }

  reveal(r, c) {
    // Scroll inside of the tile so that a cell is seen.
    const { root } = this;
    const top = r * ROW, left = c * this.width, head = this.named ? ROW : 0;
    if (top < root.scrollTop) root.scrollTop = top;
    if (top + head + ROW > root.scrollTop + root.clientHeight) root.scrollTop = top + head + ROW - root.clientHeight;
    if (left < root.scrollLeft) root.scrollLeft = left;
    if (left + this.side + this.width > root.scrollLeft + root.clientWidth) root.scrollLeft = left + this.side + this.width - root.clientWidth;
    this.draw();
  }
}
