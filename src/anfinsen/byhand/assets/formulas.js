"use strict";
// The formulas of the workbook: read, computed, and put into words. Knows what anfinsen writes, and nothing else.
// `book` answers cells(sheet, row, column) → number of the cell, -1 for none; `values` holds their numbers.

const TOKEN = /\s*(?:(\d+\.?\d*(?:E[+-]?\d+)?)|([A-Z][A-Z0-9]*)(?=\()|((?:[A-Za-z]+!)?[A-Z]+\d+(?::[A-Z]+\d+)?)|(<>|<=|>=|[-+*\/^(),<>=]))/y;
const LEVELS = [["=", "<>", "<", ">", "<=", ">="], ["+", "-"], ["*", "/"], ["^"]];

function place(text) {
  const [, letters, digits] = /^([A-Z]+)(\d+)$/.exec(text);
  let column = 0;
  for (const letter of letters) column = column * 26 + letter.charCodeAt(0) - 64;
  return [Number(digits) - 1, column - 1];
}

function addressOf(row, column) {
  let letters = "";
  for (let n = column + 1; n > 0; n = Math.floor((n - 1) / 26)) letters = String.fromCharCode(65 + ((n - 1) % 26)) + letters;
  return letters + (row + 1);
}

function parsed(formula) {
  // Nodes: {number}, {sheet, row, column, rows, columns}, {name, parts}, {operator, parts}.
  const text = formula.slice(1), tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`No formula of ours: ${formula}`);
    const kind = [1, 2, 3, 4].find((group) => match[group] !== undefined);
    tokens.push([kind, match[kind]]);
  }
  let next = 0;
  const peek = () => (next < tokens.length ? tokens[next][1] : "");
  function level(depth) {
    if (depth === LEVELS.length) return signed();
    let left = level(depth + 1);
    while (next < tokens.length && tokens[next][0] === 4 && LEVELS[depth].includes(peek())) {
      const operator = tokens[next++][1];
      left = { operator, parts: [left, level(depth + 1)] };
    }
    return left;
  }
  function signed() {
    // As in spreadsheets, a sign binds more tightly than a power.
    if (peek() !== "-") return primary();
    next++;
    return { operator: "minus", parts: [signed()] };
  }
  function primary() {
    const [kind, word] = tokens[next++];
    if (kind === 1) return { number: Number(word) };
    if (kind === 3) return range(word);
    if (kind === 2) {
      const parts = [];
      next++;
      while (peek() !== ")") {
        parts.push(level(0));
        if (peek() === ",") next++;
      }
      next++;
      if (!(word in FUNCTIONS)) throw new Error(`No function of ours: ${word}`);
      return { name: word, parts };
    }
    const inside = level(0);
    next++;
    return inside;
  }
  const tree = level(0);
  if (next !== tokens.length) throw new Error(`Something after the end of ${formula}`);
  return tree;
}

function range(word) {
  const [first, last] = word.includes("!") ? word.split("!")[1].split(":") : word.split(":");
  const [row, column] = place(first);
  const [bottom, right] = last ? place(last) : [row, column];
  const sheet = word.includes("!") ? word.split("!")[0] : "Steps";
  return { sheet, row, column, rows: bottom - row + 1, columns: right - column + 1 };
}

const isRange = (node) => node.sheet !== undefined;
const isArea = (node) => isRange(node) && node.rows * node.columns > 1;

function cellsOf(node, book) {
  // Whole rows of formulas take the same range, so that each is looked up once.
  const key = `${node.sheet}!${node.row},${node.column},${node.rows},${node.columns}`;
  if (book.ranges.has(key)) return book.ranges.get(key);
  const found = [];
  for (let row = node.row; row < node.row + node.rows; row++) {
    for (let column = node.column; column < node.column + node.columns; column++) found.push(book.cell(node.sheet, row, column));
  }
  book.ranges.set(key, found);
  return found;
}

function rangesOf(node) {
  return isRange(node) ? [node] : (node.parts || []).flatMap(rangesOf);
}

// Numbers that a function of whole ranges takes, one after the other.
const flat = (values) => values.flat();
const total = (values) => values.reduce((sum, value) => sum + value, 0);
const listOf = (value) => (Array.isArray(value) ? value : [value]);
const mean = (values) => total(values) / values.length;

function dot(a, b) {
  const left = listOf(a), right = listOf(b);
  return left.reduce((sum, value, n) => sum + value * right[n], 0);
}

function normal(x) {
  // The normal distribution function: a series of positive terms near 0, a continued fraction far out.
  const z = Math.abs(x) / Math.SQRT2;
  let upper;
  if (z < 3) {
    let term = z, sum = z;
    for (let n = 1; n < 200 && term > sum * 1e-17; n++) sum += term *= (2 * z * z) / (2 * n + 1);
    upper = 0.5 - (sum * Math.exp(-z * z)) / Math.sqrt(Math.PI);
  } else {
    let fraction = z;
    for (let n = 120; n > 0; n--) fraction = z + n / 2 / fraction;
    upper = Math.exp(-z * z) / fraction / Math.sqrt(Math.PI) / 2;
  }
  return x > 0 ? 1 - upper : upper;
}

// By name: [how it is computed, how it is said].
const FUNCTIONS = {
  SUM: [(...a) => total(flat(a)), "Σ"],
  AVERAGE: [(...a) => mean(flat(a)), "mean"],
  MAX: [(...a) => flat(a).reduce((x, y) => Math.max(x, y)), "max"],
  MIN: [(...a) => flat(a).reduce((x, y) => Math.min(x, y)), "min"],
  PRODUCT: [(...a) => flat(a).reduce((x, y) => x * y, 1), "product"],
  SUMSQ: [(...a) => total(flat(a).map((x) => x * x)), "Σ of squares"],
  DEVSQ: [(...a) => { const m = mean(flat(a)); return total(flat(a).map((x) => (x - m) ** 2)); }, "Σ of squares of x − mean"],
  SUMPRODUCT: [(a, b) => (b === undefined ? total(listOf(a)) : dot(a, b)), "Σ"],
  MMULT: [dot, "Σ"],
  SUMXMY2: [(a, b) => total(a.map((x, n) => (x - b[n]) ** 2)), "Σ"],
  PI: [() => Math.PI, "π"],
  EXP: [Math.exp, "exp"],
  LN: [Math.log, "ln"],
  LOG10: [Math.log10, "log₁₀"],
  SQRT: [Math.sqrt, "√"],
  ABS: [Math.abs, "abs"],
  SIGN: [Math.sign, "sign"],
  INT: [Math.floor, "floor"],
  SIN: [Math.sin, "sin"],
  COS: [Math.cos, "cos"],
  ACOS: [Math.acos, "arccos"],
  ATAN: [Math.atan, "arctan"],
  ATAN2: [(x, y) => Math.atan2(y, x), "angle of"],
  TAN: [Math.tan, "tan"],
  ASIN: [Math.asin, "arcsin"],
  SINH: [Math.sinh, "sinh"],
  COSH: [Math.cosh, "cosh"],
  TANH: [Math.tanh, "tanh"],
  ASINH: [Math.asinh, "arsinh"],
  TRUNC: [Math.trunc, "whole part of"],
  NORMSDIST: [normal, "Φ"],
  IF: [(condition, a, b) => (condition ? a : b), "if"],
};
const OPERATORS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "^": (a, b) => a ** b, minus: (a) => -a,
  "=": (a, b) => Number(a === b), "<>": (a, b) => Number(a !== b), "<": (a, b) => Number(a < b), ">": (a, b) => Number(a > b),
  "<=": (a, b) => Number(a <= b), ">=": (a, b) => Number(a >= b),
};

function compiled(node, book) {
  // A function of the numbers of all cells; ranges become lists.
  if (node.number !== undefined) return () => node.number;
  if (isArea(node)) {
    const cells = cellsOf(node, book);
    return (values) => cells.map((cell) => (cell < 0 ? 0 : values[cell]));
  }
  if (isRange(node)) {
    const cell = book.cell(node.sheet, node.row, node.column);
    return cell < 0 ? () => 0 : (values) => values[cell];
  }
  const parts = node.parts.map((part) => compiled(part, book));
  const work = node.name ? FUNCTIONS[node.name][0] : OPERATORS[node.operator];
  if (parts.length === 1) return (values) => work(parts[0](values));
  if (parts.length === 2) return (values) => work(parts[0](values), parts[1](values));
  return (values) => work(...parts.map((part) => part(values)));
}

function short(value) {
  if (value === 0 || Object.is(value, -0)) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value).replace("-", "−");
  if (size >= 1e5 || size < 1e-3) {
    const [digits, power] = value.toExponential(2).split("e");
    const raised = [...String(Number(power))].map((letter) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(letter)]).join("");
    return `${digits}·10${raised}`.replace("-", "−");
  }
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

const SIGNS = { "*": " · ", "/": " / ", "-": " − ", minus: "−", "<>": " ≠ ", "<=": " ≤ ", ">=": " ≥ " };
const STRENGTH = { "=": 0, "<>": 0, "<": 0, ">": 0, "<=": 0, ">=": 0, "+": 1, "-": 1, "*": 2, "/": 2, "^": 3, minus: 4 };
const MOST_TERMS = 8;

function inWords(node, book, say) {
  // The formula with numbers for addresses; `say` writes the number of a cell.
  const [text] = words(node, book, say);
  return text;
}

function words(node, book, say) {
  // [text, how strongly it holds together].
  if (node.number !== undefined) return [short(node.number), 5];
  if (isRange(node) && !isArea(node)) {
    const cell = book.cell(node.sheet, node.row, node.column);
    const text = cell < 0 ? "0" : say(cell);
    return [text, text.startsWith("−") ? 4 : 5];
  }
  if (isRange(node)) return [listed(cellsOf(node, book).map(say), ", "), 0];
  if (node.operator) {
    const own = STRENGTH[node.operator];
    const parts = node.parts.map((part, n) => {
      const [text, strength] = words(part, book, say);
      return strength < own || (n && strength === own) || (n && text.startsWith("−")) ? `(${text})` : text;
    });
    if (node.operator === "minus") return [`−${parts[0]}`, own];
    return [parts.join(SIGNS[node.operator] || (node.operator === "^" ? "^" : ` ${node.operator} `)), own];
  }
  const lists = node.parts.map((part) => (isRange(part) ? cellsOf(part, book).map(say) : [words(part, book, say)[0]]));
  if (["SUMPRODUCT", "MMULT"].includes(node.name) && lists.length === 2) {
    return [listed(lists[0].map((a, n) => `${guarded(a)}·${guarded(lists[1][n])}`), " + "), 1];
  }
  if (node.name === "SUMXMY2") return [listed(lists[0].map((a, n) => `(${a} − ${guarded(lists[1][n])})²`), " + "), 1];
  if (node.name === "SUM") return [listed(lists.flat().map((text, n) => (n ? guarded(text) : text)), " + "), 1];
  if (node.name === "PI") return ["π", 5];
  if (node.name === "IF") return [`if ${lists[0][0]} then ${lists[1][0]}, else ${lists[2][0]}`, 0];
  return [`${FUNCTIONS[node.name][1]}(${listed(lists.flat(), ", ")})`, 5];
}

const guarded = (text) => (text.startsWith("−") ? `(${text})` : text);

function listed(terms, sign) {
  if (terms.length <= MOST_TERMS) return terms.join(sign);
  return `${terms.slice(0, MOST_TERMS - 2).join(sign)}${sign}…${sign}${terms.at(-1)} (${terms.length} terms)`;
}
