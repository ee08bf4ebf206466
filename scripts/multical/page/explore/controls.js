// The explorer's elements, its address, its controls and its tables.
//
// It draws what multical.page.explorer gives it, from the address: each view has an address of its
// own, and every control is a link or changes the address. Texts of questions are never parsed as
// HTML.

const root = document.getElementById('explorer-root');
const data = JSON.parse(document.getElementById('explorer-data').textContent);

// ---- elements

/** An element with attributes, listeners (`onclick`) and children; null is left out of both. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null));
  return node;
}

const unique = (values) => [...new Set(values)];
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const number = (value, digits = 3) => (value === null ? '–' : value.toFixed(digits));
const counted = (n, word) => `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;

/** A value with its interval; one of a change has its sign. */
function interval(cell, sign = (text) => text) {
  if (!cell || cell.value === null) return '–';
  const ends = cell.low === null ? '' : ` [${sign(number(cell.low))}, ${sign(number(cell.high))}]`;
  return sign(number(cell.value)) + ends;
}

const signed = (text) => (text.startsWith('-') ? text : `+${text}`);

// ---- the address

const START = '#explore?';

let last = '';

/** What the address asks for, or asked for before a link led to another part of the page. */
function asked() {
  const { hash } = location;
  if (hash.startsWith(START)) last = hash.slice(START.length);
  else if (hash === '') last = '';
  return new URLSearchParams(last);
}

/** The address of the view with some changes; null is the default. */
function address(changes) {
  const params = asked();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) params.delete(key);
    else params.set(key, value);
  }
  return START + params;
}

function go(changes) {
  location.hash = address(changes);
}

/** Takes values from the address, and notes those that are not among the choices. */
class Choice {
  constructor(params) {
    this.params = params;
    this.choices = {};
    this.wrong = [];
  }

  pick(name, choices, first) {
    const wanted = this.params.get(name);
    this.choices[name] = choices;
    if (choices.includes(wanted)) return (this[name] = wanted);
    if (wanted !== null) this.wrong.push(`${name} “${wanted}”`);
    return (this[name] = choices.includes(first) ? first : (choices[0] ?? ''));
  }

  /** A number; a text that is none is noted. */
  number(name, first) {
    const wanted = this.params.get(name);
    if (wanted === null) return first;
    const value = wanted.trim() ? Number(wanted) : NaN;
    if (Number.isFinite(value)) return value;
    this.wrong.push(`${name} “${wanted}”`);
    return first;
  }

  /** Several values, in the order of the choices. */
  pickSome(name, choices, first) {
    const wanted = this.params.get(name)?.split('|') ?? first;
    const found = choices.filter((choice) => wanted.includes(choice));
    this.choices[name] = choices;
    return (this[name] = found.length ? found : choices);
  }
}

// ---- controls

/** A labelled list of choices; a single choice needs no control. */
function select(choice, name, label, texts = {}, least = 2) {
  const choices = choice.choices[name];
  if (choices.length < least) return null;
  const options = choices.map((value) => {
    const text = texts[value] ?? value;
    const title = value && text !== value ? value : null; // what files and config call it
    return el('option', { value, title, selected: value === choice[name] }, text);
  });
  const change = (event) => go({ [name]: event.target.value, more: null });
  return el(
    'label',
    { class: 'x-control' },
    el('span', {}, label),
    el('select', { id: `x-${name}`, onchange: change }, options),
  );
}

function checkboxes(choice, name, label) {
  const choices = choice.choices[name];
  if (choices.length < 2) return null;
  const boxes = choices.map((value, place) => {
    const change = (event) => {
      const others = choice[name].filter((other) => other !== value);
      go({ [name]: (event.target.checked ? [...others, value] : others).join('|') || null });
    };
    const box = el('input', {
      type: 'checkbox',
      id: `x-${name}-${place}`,
      checked: choice[name].includes(value),
      onchange: change,
    });
    return el('label', { class: 'x-box' }, box, ` ${value}`);
  });
  return el('fieldset', { class: 'x-control' }, el('legend', {}, label), boxes);
}

function link(text, changes, attributes) {
  return el('a', { href: address(changes), ...attributes }, text);
}

// ---- tables

/**
 * A table. A column has a name, `show` and `csv` functions of a row, and, if it can be sorted by,
 * a key. `csv` gives the columns of the file, by name.
 */
function table(caption, columns, rows, choice) {
  const headings = columns.map((column) => {
    if (!column.key) return el('th', { scope: 'col' }, column.name);
    const isSorted = choice.sort === column.key;
    const direction = choice.direction === 'down' ? 'descending' : 'ascending';
    const turned = isSorted && choice.direction === 'up' ? 'down' : 'up';
    const sort = () => go({ sort: column.key, direction: turned });
    const mark = isSorted ? (choice.direction === 'down' ? ' ▼' : ' ▲') : '';
    return el(
      'th',
      { scope: 'col', 'aria-sort': isSorted ? direction : null },
      el('button', { type: 'button', id: `x-by-${column.key.replace(/\W+/g, '-')}`, onclick: sort }, column.name, mark),
    );
  });
  const lines = rows.map((row) =>
    el(
      'tr',
      {},
      columns.map((column, place) =>
        el(place ? 'td' : 'th', { scope: place ? null : 'row' }, column.show(row)),
      ),
    ),
  );
  const box = el(
    'div',
    { class: 'x-scroll', role: 'region', tabindex: 0, 'aria-label': caption },
    el(
      'table',
      {},
      el('caption', {}, caption),
      el('thead', {}, el('tr', {}, headings)),
      el('tbody', {}, lines),
    ),
  );
  return box;
}

/** A comma-separated file. A spreadsheet must not take a text for a formula. */
function csv(columns, rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? '' : String(value);
    const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const files = rows.map((row) => Object.assign({}, ...columns.map((column) => column.csv(row))));
  const names = unique(files.flatMap(Object.keys));
  const lines = [names, ...files.map((file) => names.map((name) => file[name]))];
  return lines.map((line) => `${line.map(cell).join(',')}\n`).join('');
}

function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const anchor = el('a', { href: url, download: name.replace(/[^\w.-]+/g, '_') });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
