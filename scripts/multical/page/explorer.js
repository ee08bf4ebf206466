// The explorer of a study's page. It draws what multical.page.explorer gives it, from the address:
// each view has an address of its own, and every control is a link or changes the address.
// Texts of questions are never parsed as HTML.
'use strict';

(() => {
  const root = document.getElementById('explorer-root');
  const data = JSON.parse(document.getElementById('explorer-data').textContent);
  if (!data) return;

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

  function interval(cell) {
    if (!cell || cell.value === null) return '–';
    const ends = cell.low === null ? '' : ` [${number(cell.low)}, ${number(cell.high)}]`;
    return number(cell.value) + ends;
  }

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
    const options = choices.map((value) =>
      el('option', { value, selected: value === choice[name] }, texts[value] ?? value),
    );
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

  // ---- charts

  const LIGHT = { fg: '#1b1b1b', muted: '#595959', line: '#dcdcdc', bg: '#ffffff' };

  /** The colours of the page, which are others in dark mode. */
  function theme() {
    const page = getComputedStyle(root);
    const own = (name) => page.getPropertyValue(`--${name}`).trim() || LIGHT[name];
    return { fg: own('fg'), muted: own('muted'), line: own('line'), bg: own('bg') };
  }

  function rgb(colour) {
    const context = el('canvas', { width: 1, height: 1 }).getContext('2d');
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  }

  /** The relative luminance of WCAG 2. */
  function luminance(parts) {
    const [r, g, b] = parts.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  /** A colour, mixed with black or white until its contrast with the ground is 3 to 1. */
  function legible(colour, ground) {
    const behind = luminance(rgb(ground));
    const end = behind > 0.18 ? 0 : 255;
    let parts = rgb(colour);
    for (let step = 0; step < 20; step += 1) {
      const [low, high] = [behind, luminance(parts)].sort((a, b) => a - b);
      if ((high + 0.05) / (low + 0.05) >= 3) break;
      parts = parts.map((part) => Math.round(part + 0.1 * (end - part)));
    }
    return `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
  }

  /** A whole Vega-Lite chart in the colours of a theme. */
  function whole(chart, width, colours) {
    const axis = {
      labelColor: colours.fg,
      titleColor: colours.fg,
      gridColor: colours.line,
      domainColor: colours.muted,
      tickColor: colours.muted,
      titleFontWeight: 'normal',
      labelFontSize: 12,
      titleFontSize: 12,
    };
    const title = { color: colours.fg, fontSize: 12, fontWeight: 'bold', anchor: 'start' };
    const legend = { labelColor: colours.fg, titleColor: colours.fg, labelFontSize: 12 };
    return {
      ...chart.spec(width, colours),
      background: colours.bg,
      padding: 5,
      config: {
        axis,
        title,
        legend: { ...legend, orient: 'top', title: null, columns: width < 500 ? 2 : 5 },
        view: { stroke: null },
        font: 'system-ui, sans-serif',
        aria: false, // the chart as a whole has a name, and its table has the numbers
      },
    };
  }

  function vegaView(chart, width, colours, renderer) {
    const compiled = vegaLite.compile(whole(chart, width, colours)).spec;
    return new vega.View(vega.parse(compiled), { renderer, logLevel: vega.Error });
  }

  let drawn = [];

  async function draw(chart) {
    const view = vegaView(chart, Math.max(chart.node.clientWidth, 280), theme(), 'svg');
    drawn.push(view);
    view.initialize(chart.node);
    if (chart.click) {
      view.addEventListener('click', (event, item) => {
        if (item?.datum?.tag) chart.click(item.datum);
      });
    }
    await view.runAsync();
    chart.node.querySelector('svg').setAttribute('aria-hidden', 'true');
    chart.node.dataset.drawn = 'true';
  }

  /** A chart with its name, and buttons that save it and the numbers of its table. */
  function figure(chart, columns, rows, name) {
    chart.node = el('div', { class: 'x-chart', role: 'img', 'aria-label': chart.label });
    const saveSvg = async () =>
      save(await vegaView(chart, 900, LIGHT, 'none').toSVG(), 'image/svg+xml', `${name}.svg`);
    return el(
      'div',
      { class: 'x-figure' },
      chart.node,
      el('p', { class: 'x-caption' }, capital(chart.caption)),
      saving(columns, rows, name, el('button', { type: 'button', onclick: saveSvg }, 'Save chart (SVG)')),
    );
  }

  function saving(columns, rows, name, ...buttons) {
    const saveCsv = () => save(csv(columns, rows), 'text/csv', `${name}.csv`);
    return el(
      'p',
      { class: 'x-save' },
      buttons,
      el('button', { type: 'button', onclick: saveCsv }, 'Save numbers (CSV)'),
    );
  }

  function fold(summary, ...content) {
    return el('details', {}, el('summary', {}, summary), content);
  }

  // ---- paper 1: what there is

  const key = (...parts) => parts.join('\n');
  const runs = new Map((data.runs ?? []).map((run) => [run.id, run]));
  const blocks = (list) =>
    new Map((list ?? []).map((block) => [key(block.benchmark, block.readout, block.run), block]));
  const cells = blocks(data.cells);
  const diagrams = blocks(data.diagrams);
  const CULTURES = { CS: 'culturally sensitive', CA: 'culturally agnostic' };

  /** The value of a metric in a language, with its interval; null if there is none. */
  function estimate(block, metric, language) {
    const place = block?.languages.indexOf(language) ?? -1;
    const lists = block?.metrics[metric];
    if (place < 0 || !lists) return null;
    const [value, low, high, p] = [0, 1, 2, 3].map((list) => lists[list]?.[place] ?? null);
    return { value, low, high, p, n: block.n?.[place] ?? null };
  }

  /** What the address asks of a study of paper 1, and all that could be chosen instead. */
  function languageChoice() {
    const choice = new Choice(asked());
    const { shown } = data;
    choice.pick('benchmark', unique(data.cells.map((cell) => cell.benchmark)), shown.benchmark);
    let here = data.cells.filter((cell) => cell.benchmark === choice.benchmark);
    choice.pick('model', unique(here.map((cell) => runs.get(cell.run).model)));
    here = here.filter((cell) => runs.get(cell.run).model === choice.model);
    choice.pick('readout', unique(here.map((cell) => cell.readout)), shown.readout);
    const all = unique(here.flatMap((cell) => cell.languages)).sort();
    here = here.filter((cell) => cell.readout === choice.readout);
    pickRuns(choice, here);
    pickMetric(choice, here);
    const info = (tag) => data.languages[tag];
    choice.pick('level', ['', ...unique(all.map((tag) => info(tag).level))], '');
    choice.pick('script', [...new Set(['', ...all.map((tag) => info(tag).script)])].sort(), '');
    choice.languages = all.filter(
      (tag) =>
        (!choice.level || info(tag).level === choice.level) &&
        (!choice.script || info(tag).script === choice.script),
    );
    const byName = [...all].sort((a, b) => nameOf(a).localeCompare(nameOf(b), 'en'));
    choice.pick('language', ['', '*', ...byName], '');
    pickQuestions(choice);
    return choice;
  }

  /** The runs of the model, one for each condition. */
  function pickRuns(choice, here) {
    const own = unique(here.map((cell) => cell.run)).map((id) => runs.get(id));
    const tuned = own.filter((run) => run.sft !== null);
    choice.pick('sft', unique(tuned.map((run) => run.sft)), data.shown.sft);
    const seeds = tuned.filter((run) => run.sft === choice.sft).map((run) => String(run.seed));
    choice.pick('seed', unique(seeds), String(data.shown.seed));
    choice.runs = new Map(
      own
        .filter(
          (run) =>
            run.sft === null || (run.sft === choice.sft && String(run.seed) === choice.seed),
        )
        .map((run) => [run.condition, run.id]),
    );
    const conditions = Object.keys(data.looks).filter((name) => choice.runs.has(name));
    choice.pickSome('conditions', conditions, data.shown.conditions);
  }

  /** The metric, whether to show its values or changes, and how languages are sorted. */
  function pickMetric(choice, here) {
    const changes = data.changes.filter(
      (change) =>
        change.benchmark === choice.benchmark &&
        change.model === choice.model &&
        change.readout === choice.readout &&
        change.sft === choice.sft,
    );
    const name = (change) => `${change.before} → ${change.after}`;
    const last = data.shown.conditions.at(-1);
    const first = changes.find((change) => change.after === last) ?? changes[0];
    choice.pick('change', changes.map(name), first && name(first));
    choice.changed = changes.find((change) => name(change) === choice.change) ?? null;
    choice.pick('show', choice.changed ? ['value', 'change'] : ['value'], 'value');
    const blocks = choice.show === 'change' ? [choice.changed] : here;
    const metrics = Object.keys(data.metrics).filter((metric) =>
      blocks.some((block) => metric in block.metrics),
    );
    choice.pick('metric', metrics, data.shown.metric);
    const values = choice.show === 'value' ? choice.conditions.map((name) => `value ${name}`) : [];
    const change = choice.changed ? ['change'] : [];
    choice.pick('sort', ['level', 'name', ...values, ...change], 'level');
    choice.pick('direction', ['up', 'down'], 'up');
  }

  function pickQuestions(choice) {
    const questions = data.questions?.[choice.benchmark] ?? null;
    choice.questions = questions;
    const labels = (list) => ['', ...unique(list ?? []).filter((label) => label !== null).sort()];
    choice.pick('subject', labels(questions?.subjects), '');
    choice.pick('culture', labels(questions?.cultures), '');
    choice.pick('order', choice.changed ? ['change', 'wrong', 'id'] : ['wrong', 'id']);
    choice.pick('question', ['', ...(questions?.ids ?? [])], '');
    choice.more = Math.max(1, Math.min(1000, Number(choice.params.get('more')) || 1));
  }

  const cellOf = (choice, condition, readout = choice.readout) =>
    cells.get(key(choice.benchmark, readout, choice.runs.get(condition)));

  /** A language's value in a condition. */
  const valueIn = (choice, condition, tag, metric = choice.metric) =>
    estimate(cellOf(choice, condition), metric, tag);

  /** How much the metric changes, by the table of changes, else as the difference of its values. */
  function changeIn(choice, tag) {
    const tested = estimate(choice.changed, choice.metric, tag);
    if (tested || !choice.changed) return tested;
    const { before, after } = choice.changed;
    const [old, now] = [before, after].map((name) => valueIn(choice, name, tag)?.value ?? null);
    const value = old === null || now === null ? null : now - old;
    return { value, low: null, high: null, p: null };
  }

  const LEVELS = ['high', 'mid', 'low', 'unknown'];
  const nameOf = (tag) => `${data.languages[tag].name} (${tag})`;

  /** The languages in the order of the address; those without a value come last. */
  function sorted(choice, tags) {
    const { sort } = choice;
    const rank = (tag) => {
      if (sort === 'name') return 0;
      if (sort === 'level') return LEVELS.indexOf(data.languages[tag].level);
      const cell =
        sort === 'change' ? changeIn(choice, tag) : valueIn(choice, sort.slice(6), tag);
      return cell?.value ?? null;
    };
    const sign = choice.direction === 'down' ? -1 : 1;
    const rows = tags.map((tag) => ({ tag, rank: rank(tag), name: nameOf(tag) }));
    rows.sort((a, b) => {
      if ((a.rank === null) !== (b.rank === null)) return a.rank === null ? 1 : -1;
      return sign * (a.rank - b.rank || a.name.localeCompare(b.name, 'en'));
    });
    return rows.map((row) => row.tag);
  }

  /** The colour and shape scales of conditions. */
  function looks(conditions, colours) {
    const of = (place) => conditions.map((name) => data.looks[name][place]);
    return {
      color: {
        field: 'condition',
        type: 'nominal',
        scale: { domain: conditions, range: of(0).map((one) => legible(one, colours.bg)) },
      },
      shape: {
        field: 'condition',
        type: 'nominal',
        scale: { domain: conditions, range: of(1) },
      },
    };
  }

  // ---- paper 1: languages

  function languageColumns(choice) {
    const columns = [
      {
        name: 'Language',
        key: 'name',
        show: (tag) => [
          link(data.languages[tag].name, { language: tag }, { id: `x-language-${tag}` }),
          ' ',
          el('span', { lang: tag, dir: 'auto', class: 'x-own' }, data.languages[tag].own),
          ` ${tag}`,
        ],
        csv: (tag) => ({ language: tag, name: data.languages[tag].name }),
      },
      {
        name: 'Level',
        key: 'level',
        show: (tag) => data.languages[tag].level,
        csv: (tag) => ({ resource_level: data.languages[tag].level }),
      },
      {
        name: 'Script',
        show: (tag) => data.languages[tag].script,
        csv: (tag) => ({ script: data.languages[tag].script }),
      },
      {
        name: 'Questions',
        show: (tag) => String(questionsOf(choice, tag) ?? '–'),
        csv: (tag) => ({ questions: questionsOf(choice, tag) }),
      },
    ];
    const shown = choice.show === 'change' ? [changeColumn(choice)] : valueColumns(choice);
    return [...columns, ...shown];
  }

  const questionsOf = (choice, tag) =>
    [...choice.runs.keys()].map((name) => valueIn(choice, name, tag)?.n).find((n) => n) ?? null;

  const valueColumns = (choice) =>
    choice.conditions.map((condition) => ({
      name: condition,
      key: `value ${condition}`,
      show: (tag) => interval(valueIn(choice, condition, tag)),
      csv: (tag) => {
        const cell = valueIn(choice, condition, tag);
        return {
          [condition]: cell?.value,
          [`${condition}, low`]: cell?.low,
          [`${condition}, high`]: cell?.high,
        };
      },
    }));

  function changeColumn(choice) {
    const tested = (p) => (p === null ? '' : p < 0.001 ? ', p < 0.001' : `, p = ${number(p)}`);
    return {
      name: choice.change,
      key: 'change',
      show: (tag) => interval(changeIn(choice, tag)) + tested(changeIn(choice, tag)?.p ?? null),
      csv: (tag) => {
        const { value, low, high, p } = changeIn(choice, tag) ?? {};
        return { change: value, low, high, p_holm: p };
      },
    };
  }

  function languagesChart(choice, tags) {
    const isChange = choice.show === 'change';
    const conditions = isChange ? [choice.changed.after] : choice.conditions;
    const rows = tags.flatMap((tag) =>
      conditions.map((condition) => ({
        tag,
        condition,
        name: nameOf(tag),
        ...(isChange ? changeIn(choice, tag) : valueIn(choice, condition, tag)),
      })),
    );
    const metric = data.metrics[choice.metric];
    const title = isChange ? `change of ${metric}: ${choice.change}` : metric;
    const spec = (width, colours) => {
      const y = {
        field: 'name',
        type: 'nominal',
        sort: tags.map(nameOf),
        title: null,
        axis: { labelLimit: width < 500 ? 130 : 220, ticks: false, domain: false },
        scale: { paddingInner: 0.25 },
      };
      const look = looks(conditions, colours);
      const offset = { field: 'condition', type: 'nominal', sort: conditions };
      const tooltip = [
        { field: 'name', title: 'language' },
        { field: 'condition' },
        { field: 'value', format: '.3f' },
        { field: 'low', format: '.3f' },
        { field: 'high', format: '.3f' },
      ];
      const axis = { tickCount: width < 500 ? 4 : 8, orient: 'top' };
      const x = { type: 'quantitative', title, axis, scale: { zero: false } };
      const zero = {
        data: { values: [{ zero: 0 }] },
        mark: { type: 'rule', color: colours.muted, strokeDash: [4, 3] },
        encoding: { x: { field: 'zero', type: 'quantitative' } },
      };
      const filled = rows.filter((row) => (row.value ?? null) !== null);
      return {
        width,
        height: tags.length * (conditions.length * 9 + 8),
        autosize: { type: 'fit-x', contains: 'padding' },
        data: { values: filled },
        layer: [
          {
            data: { values: unique(filled.map((row) => row.tag)).map((tag) => ({ tag, name: nameOf(tag) })) },
            mark: { type: 'rect', opacity: 0, cursor: 'pointer' },
            encoding: { y },
          },
          ...(isChange ? [zero] : []),
          {
            transform: [{ filter: 'isValid(datum.low)' }],
            mark: { type: 'rule', strokeWidth: 1.5 },
            encoding: { y, yOffset: offset, x: { field: 'low', ...x }, x2: { field: 'high' }, color: look.color },
          },
          {
            mark: { type: 'point', filled: true, size: 55, opacity: 1, cursor: 'pointer' },
            encoding: { y, yOffset: offset, x: { field: 'value', ...x }, ...look, tooltip },
          },
        ],
      };
    };
    const label = `${title} of ${choice.model} in ${counted(tags.length, 'language')}`;
    const tests = isChange ? ' In the table, p is corrected for all tests of the change (Holm).' : '';
    const caption = `${label}. Bars are 95 % intervals, where there are any.${tests} Click a language to see more.`;
    return { spec, rows, title, label, caption, click: (row) => go({ language: row.tag }) };
  }

  const allQuestions = (choice) =>
    choice.changed
      ? `Which answers changed most, in all languages? (${choice.change})`
      : 'Questions of all languages';

  function languagesView(choice) {
    const tags = sorted(choice, choice.languages);
    const has = (tag) => choice.conditions.some((name) => valueIn(choice, name, tag) !== null);
    const chart = languagesChart(choice, tags.filter(has));
    const columns = languageColumns(choice);
    const name = [data.study, choice.model, choice.benchmark, choice.readout, choice.metric].join('-');
    const metric = data.metrics[choice.metric];
    const isChange = choice.show === 'change';
    const title = capital(`${isChange ? `change of ${metric}` : metric} by language`);
    return {
      title,
      path: [],
      charts: [chart],
      controls: languageControls(choice),
      status: `${counted(tags.length, 'language')}, ${choice.model}, ${chart.title}`,
      body: [
        choice.questions ? el('p', {}, link(allQuestions(choice), { language: '*' })) : null,
        figure(chart, columns, tags, name),
        table(title, columns, tags, choice),
      ],
    };
  }

  function languageControls(choice) {
    const isByChange = choice.show === 'change' || choice.sort === 'change';
    const sorts = { level: 'resource level', name: 'name', change: `change, ${choice.change}` };
    for (const name of choice.conditions) sorts[`value ${name}`] = `value, ${name}`;
    return [
      select(choice, 'metric', 'Metric', data.metrics),
      select(choice, 'show', 'Show', { value: 'values', change: 'changes' }),
      isByChange ? select(choice, 'change', 'Change', {}) : null,
      choice.show === 'value' ? checkboxes(choice, 'conditions', 'Conditions') : null,
      select(choice, 'sort', 'Sort by', sorts),
      select(choice, 'direction', 'Order', { up: 'ascending', down: 'descending' }),
      ...filterControls(choice),
    ];
  }

  const filterControls = (choice) => [
    select(choice, 'level', 'Resource level', { '': 'all' }, 3),
    select(choice, 'script', 'Script', { '': 'all' }, 3),
  ];

  // ---- paper 1: one language

  function reliabilityChart(choice, tag) {
    const parts = choice.conditions.map((condition) => {
      const block = diagrams.get(key(choice.benchmark, choice.readout, choice.runs.get(condition)));
      const points = (block?.points[tag] ?? []).map(([n, confidence, accuracy, low, high]) => ({
        condition, n, confidence, accuracy, low, high,
      }));
      return { condition, points };
    });
    const filled = parts.filter((part) => part.points.length);
    if (!filled.length) return null;
    const unit = { type: 'quantitative', scale: { domain: [0, 1] } };
    const spec = (width, colours) => {
      const columns = Math.min(filled.length, width < 500 ? 2 : 4);
      const side = Math.floor(Math.min(240, width / columns - 62));
      const panel = ({ condition, points }) => {
        const [colour, shape] = data.looks[condition];
        const mark = { color: legible(colour, colours.bg) };
        const x = { field: 'confidence', ...unit, axis: { title: 'confidence', values: [0, 0.5, 1] } };
        const y = { field: 'low', ...unit, axis: { title: 'accuracy', values: [0, 0.5, 1] } };
        const band = { x, y, y2: { field: 'high' } };
        const ece = valueIn(choice, condition, tag, 'ece');
        return {
          title: ece ? [condition, `ECE ${number(ece.value)}`] : condition,
          width: side,
          height: side,
          data: { values: points },
          layer: [
            {
              data: { values: [{ at: 0 }, { at: 1 }] },
              mark: { type: 'line', color: colours.muted, strokeDash: [4, 3], strokeWidth: 1 },
              encoding: { x: { ...x, field: 'at' }, y: { ...y, field: 'at' } },
            },
            { mark: { type: 'area', opacity: 0.2, ...mark }, encoding: band },
            { mark: { type: 'rule', strokeWidth: 1.5, ...mark }, encoding: band },
            {
              mark: { type: 'line', strokeWidth: 1.5, ...mark },
              encoding: { x, y: { ...y, field: 'accuracy' } },
            },
            {
              mark: { type: 'point', filled: true, opacity: 1, shape, ...mark },
              encoding: {
                x,
                y: { ...y, field: 'accuracy' },
                size: { field: 'n', type: 'quantitative', legend: null, scale: { range: [30, 160] } },
                tooltip: ['n', 'confidence', 'accuracy', 'low', 'high'].map((field) => ({ field })),
              },
            },
          ],
        };
      };
      return { columns, concat: filled.map(panel), spacing: 16 };
    };
    const label = `Reliability diagrams of ${choice.model} in ${nameOf(tag)}, one for each condition`;
    const caption = `${label}: accuracy against confidence. The band is the 95 % interval of the \
accuracy, the dashed line is calibrated. Points join neighbouring bins with few questions.`;
    return { spec, rows: filled.flatMap((part) => part.points), label, caption };
  }

  const POINT_COLUMNS = [
    { name: 'Condition', show: (row) => row.condition, csv: (row) => ({ condition: row.condition }) },
    { name: 'Questions', show: (row) => String(row.n), csv: (row) => ({ n: row.n }) },
    ...['confidence', 'accuracy', 'low', 'high'].map((name) => ({
      name: { low: 'Accuracy, low', high: 'Accuracy, high' }[name] ?? `Mean ${name}`,
      show: (row) => number(row[name]),
      csv: (row) => ({ [name]: row[name] }),
    })),
  ];

  /** The chosen metric of a language, and what it is made of, in each condition. */
  function summary(choice, tag) {
    const wanted = unique([choice.metric, 'ece', 'confidence', 'accuracy']);
    const metrics = wanted.filter((metric) =>
      choice.conditions.some((name) => valueIn(choice, name, tag, metric)),
    );
    const columns = [
      { name: 'Condition', show: (name) => name, csv: (name) => ({ condition: name }) },
      ...metrics.map((metric) => ({
        name: data.metrics[metric],
        show: (name) => interval(valueIn(choice, name, tag, metric)),
      })),
    ];
    return table(`${nameOf(tag)}: ${choice.model}, ${choice.readout}`, columns, choice.conditions, choice);
  }

  function languageView(choice) {
    const tag = choice.language;
    const chart = reliabilityChart(choice, tag);
    const { name, own, level, script } = data.languages[tag];
    const file = [data.study, choice.model, choice.benchmark, choice.readout, tag].join('-');
    const isScored = choice.conditions.some((one) => cellOf(choice, one)?.languages.includes(tag));
    return {
      title: name,
      path: [['All languages', { language: null }]],
      charts: chart ? [chart] : [],
      controls: [
        select(choice, 'metric', 'Metric', data.metrics),
        checkboxes(choice, 'conditions', 'Conditions'),
        ...questionControls(choice),
      ],
      status: `${nameOf(tag)}, ${choice.model}, ${choice.readout}`,
      body: [
        el('p', {}, el('span', { lang: tag, dir: 'auto' }, own), ` · ${level} resource level · ${script} script`),
        isScored ? summary(choice, tag) : el('p', {}, `The readout ${choice.readout} has no values in ${name}.`),
        chart ? figure(chart, POINT_COLUMNS, chart.rows, `${file}-reliability`) : null,
        chart ? fold('Numbers of the diagrams', table('Points of the diagrams', POINT_COLUMNS, chart.rows, choice)) : null,
        questionList(choice, [tag], file),
      ],
    };
  }

  // ---- paper 1: questions

  const LETTERS = 'ABCDEFGHIJ';

  /** A language's questions, with what each condition answered and how sure it was. */
  function questionsIn(choice, tag) {
    const { ids, subjects, cultures, asked: places, gold, texts, answers } = choice.questions;
    const given = new Map(
      [...choice.runs].map(([condition, run]) => {
        const found = answers.find((one) => one.run === run && one.readout === choice.readout);
        return [condition, found?.languages[tag]];
      }),
    );
    const answer = (condition, at) => {
      const [options, sure] = given.get(condition) ?? [];
      const isThere = (options?.[at] ?? '-') !== '-';
      return isThere ? { option: Number(options[at]), sure: sure[at] } : null;
    };
    return (places[tag] ?? []).map((place, at) => {
      const picks = choice.conditions.map((condition) => [condition, answer(condition, at)]);
      const before = choice.changed && answer(choice.changed.before, at);
      const after = choice.changed && answer(choice.changed.after, at);
      return {
        tag,
        id: ids[place],
        subject: subjects?.[place] ?? null,
        culture: cultures?.[place] ?? null,
        text: texts?.[tag][at][0] ?? null,
        options: texts?.[tag][at][1] ?? null,
        gold: gold[tag][at] === '-' ? null : Number(gold[tag][at]),
        picks: new Map(picks.filter(([, pick]) => pick)),
        change: before && after ? distance(choice, before, after) : null,
      };
    });
  }

  const DISTANCE = 'the difference of the two confidences, or their sum if the answers differ';

  /** How far apart two answers are. */
  function distance(choice, before, after) {
    const isProbability = diagrams.has(key(choice.benchmark, choice.readout, [...choice.runs.values()][0]));
    if (isProbability && before.option !== after.option) return before.sure + after.sure;
    return Math.abs(before.sure - after.sure);
  }

  /** Confidence in a wrong answer, of the last condition that is shown. */
  function surelyWrong(choice, question) {
    const pick = question.picks.get(choice.conditions.at(-1));
    return pick && pick.option !== question.gold ? pick.sure : -Infinity;
  }

  function ordered(choice, questions) {
    const { subject, culture, order } = choice;
    const chosen = questions.filter(
      (one) => (!subject || one.subject === subject) && (!culture || one.culture === culture),
    );
    const ranks = {
      change: (one) => -(one.change ?? -1),
      wrong: (one) => -surelyWrong(choice, one),
      id: () => 0,
    };
    const rank = ranks[order];
    const rows = chosen.map((one, place) => [rank(one), place, one]);
    rows.sort((a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] - b[0]));
    return rows.map((row) => row[2]);
  }

  function questionControls(choice) {
    if (!choice.questions) return [];
    const orders = {
      change: `what changed most, ${choice.change}`,
      wrong: `surest wrong answers, ${choice.conditions.at(-1)}`,
      id: 'their ids',
    };
    return [
      choice.changed && select(choice, 'change', 'Change', {}),
      select(choice, 'order', 'Sort questions by', orders),
      select(choice, 'subject', 'Subject', { '': 'all' }, 3),
      select(choice, 'culture', 'Culture', { '': 'all', ...CULTURES }, 3),
    ];
  }

  const QUESTION_COLUMNS = [
    { csv: (one) => ({ language: one.tag, question_id: one.id, subject: one.subject, culture: one.culture }) },
    { csv: (one) => ({ question: one.text, right: optionText(one, one.gold), change: one.change }) },
    {
      csv: (one) =>
        Object.fromEntries(
          [...one.picks].flatMap(([condition, pick]) => [
            [`${condition}: answer`, optionText(one, pick.option)],
            [`${condition}: right`, pick.option === one.gold],
            [`${condition}: confidence`, pick.sure],
          ]),
        ),
    },
  ];

  const optionText = (one, option) =>
    option === null ? null : (one.options?.[option] ?? LETTERS[option]);

  /** The first questions of some languages, and a button for more. */
  function questionList(choice, tags, file) {
    if (!choice.questions) return howToRead(choice, tags);
    const questions = ordered(choice, tags.flatMap((tag) => questionsIn(choice, tag)));
    const shown = questions.slice(0, 10 * choice.more);
    const more = el(
      'button',
      { type: 'button', id: 'x-more', onclick: () => go({ more: choice.more + 1 }) },
      `Show more (${shown.length} of ${questions.length})`,
    );
    return el(
      'section',
      { 'aria-labelledby': 'x-questions' },
      el('h4', { id: 'x-questions' }, counted(questions.length, 'question')),
      choice.questions.texts ? null : el('p', {}, noTexts(choice)),
      choice.changed ? el('p', { class: 'x-labels' }, `Change, ${choice.change}: ${DISTANCE}.`) : null,
      saving(QUESTION_COLUMNS, questions, `${file}-questions`),
      el('ol', { class: 'x-questions' }, shown.map((one) => card(choice, one, tags.length > 1))),
      shown.length < questions.length ? more : null,
    );
  }

  const noTexts = (choice) =>
    data.records.questions[choice.benchmark]
      ? 'The texts are too long for this page; options are named by their letters.'
      : 'The study has no file with the texts of the questions; options are named by their letters.';

  /** A question with its options: which is right, and which each condition chose, how sure. */
  function card(choice, one, isNamed) {
    const label = one.text ?? one.id;
    const numbers = one.options ?? [...LETTERS.slice(0, mostOptions(one))];
    const options = numbers.map((option, place) => {
      const isRight = place === one.gold;
      const picks = [...one.picks].filter(([, pick]) => pick.option === place);
      return el(
        'li',
        { class: isRight ? 'x-right' : null },
        el('span', { class: 'x-letter' }, LETTERS[place]),
        one.options ? el('span', { lang: one.tag, dir: 'auto' }, option) : null,
        isRight ? el('strong', {}, '✓ right answer') : null,
        picks.map(([condition, pick]) =>
          el('span', { class: 'x-pick' }, `${condition} ${number(pick.sure)}`),
        ),
      );
    });
    const labels = [
      one.subject,
      CULTURES[one.culture] ?? null,
      one.change === null ? null : `change ${number(one.change)}`,
    ];
    // in the view of one question, it leads to the language
    const leads = { language: one.tag, question: choice.question ? null : one.id };
    return el(
      'li',
      {},
      isNamed ? el('p', { class: 'x-where' }, nameOf(one.tag)) : null,
      el(
        'p',
        { class: 'x-text' },
        link(label, leads, {
          lang: one.text ? one.tag : null, dir: 'auto',
        }),
      ),
      el('ul', { class: 'x-options' }, options),
      el('p', { class: 'x-labels' }, labels.filter((text) => text).join(' · ')),
    );
  }

  const mostOptions = (one) =>
    1 + Math.max(one.gold ?? 0, ...[...one.picks.values()].map((pick) => pick.option));

  /** Where questions are that the page does not hold. */
  function howToRead(choice, tags) {
    const { count, most, files, questions } = data.records;
    const run = choice.runs.get(choice.conditions.at(-1)) ?? '';
    const where = `filters=[("language", "==", "${tags[0]}")]`;
    const records = files.replace('{run}', run).replace('{benchmark}', choice.benchmark);
    const lines = ['import pandas as pd', `rows = pd.read_parquet("${records}", ${where})`];
    if (questions[choice.benchmark]) {
      lines.push(`texts = pd.read_parquet("${questions[choice.benchmark]}", ${where})`);
      lines.push('print(texts.merge(rows, on=["language", "question_id"]).T)');
    } else lines.push('print(rows.T)');
    return el(
      'section',
      { 'aria-labelledby': 'x-questions' },
      el('h4', { id: 'x-questions' }, 'Questions'),
      el(
        'p',
        {},
        `The study has ${counted(count, 'record')}, more than the ${most.toLocaleString('en')} whose `,
        'questions this page holds. In the folder of the repository, this Python shows them:',
      ),
      el('pre', { tabindex: 0 }, el('code', {}, lines.join('\n'))),
    );
  }

  function allQuestionsView(choice) {
    const tags = choice.languages;
    const file = [data.study, choice.model, choice.benchmark, choice.readout, 'all'].join('-');
    return {
      title: 'Questions of all languages',
      path: [['All languages', { language: null }]],
      charts: [],
      controls: [
        checkboxes(choice, 'conditions', 'Conditions'),
        ...questionControls(choice),
        ...filterControls(choice),
      ],
      status: `Questions in ${counted(tags.length, 'language')}, ${choice.model}, ${choice.readout}`,
      body: [questionList(choice, tags, file)],
    };
  }

  /** One question in all languages. */
  function questionView(choice) {
    const tags = sorted(choice, choice.languages);
    const questions = tags.flatMap((tag) =>
      questionsIn(choice, tag).filter((one) => one.id === choice.question),
    );
    const english = questions.find((one) => one.tag.split('-')[0] === 'en' && one.text);
    const chart = questionChart(choice, questions);
    const own = data.languages[choice.language];
    const file = [data.study, choice.model, choice.readout, choice.question].join('-');
    return {
      title: `The question ${choice.question} in ${counted(questions.length, 'language')}`,
      path: [
        ['All languages', { language: null, question: null }],
        ...(own ? [[own.name, { question: null }]] : []),
      ],
      charts: [chart],
      controls: [
        checkboxes(choice, 'conditions', 'Conditions'),
        choice.changed && select(choice, 'change', 'Change', {}),
        select(choice, 'sort', 'Sort by', { level: 'resource level', name: 'name' }),
        ...filterControls(choice),
      ],
      status: `${choice.question}, ${counted(questions.length, 'language')}, ${choice.model}`,
      body: [
        english ? el('p', {}, 'In English: ', el('q', { lang: 'en' }, english.text)) : null,
        figure(chart, QUESTION_COLUMNS, questions, file),
        el('ol', { class: 'x-questions' }, questions.map((one) => card(choice, one, true))),
      ],
    };
  }

  function questionChart(choice, questions) {
    const rows = questions.flatMap((one) =>
      [...one.picks].map(([condition, pick]) => ({
        tag: one.tag,
        name: nameOf(one.tag),
        condition,
        sure: pick.sure,
        answer: pick.option === one.gold ? 'right' : 'wrong',
      })),
    );
    const spec = (width, colours) => {
      const look = looks(choice.conditions, colours);
      const mark = { type: 'point', size: 60, opacity: 1, strokeWidth: 1.5, cursor: 'pointer' };
      const encoding = {
        y: {
          field: 'name',
          type: 'nominal',
          sort: questions.map((one) => nameOf(one.tag)),
          title: null,
          axis: { labelLimit: width < 500 ? 130 : 220, ticks: false, domain: false, grid: true },
        },
        x: {
          field: 'sure',
          type: 'quantitative',
          title: 'confidence in the answer',
          axis: { tickCount: width < 500 ? 4 : 8, orient: 'top' },
          scale: { zero: false },
        },
        tooltip: ['name', 'condition', 'sure', 'answer'].map((field) => ({ field })),
      };
      return {
        width,
        height: questions.length * 17,
        autosize: { type: 'fit-x', contains: 'padding' },
        data: { values: rows },
        encoding,
        layer: ['right', 'wrong'].map((answer) => ({
          transform: [{ filter: `datum.answer == '${answer}'` }],
          mark: { ...mark, filled: answer === 'right' },
          encoding: look,
        })),
      };
    };
    const label = `Confidence in the answers of ${choice.model} to ${choice.question} by language`;
    const caption = `${label}. Filled: the answer is right; open: it is wrong.`;
    return { spec, rows, label, caption, click: (row) => go({ language: row.tag, question: null }) };
  }

  function languageStudy() {
    const choice = languageChoice();
    const common = [
      select(choice, 'model', 'Model'),
      select(choice, 'benchmark', 'Benchmark'),
      select(choice, 'readout', 'Readout'),
      select(choice, 'sft', 'SFT data'),
      select(choice, 'seed', 'Seed'),
      select(choice, 'language', 'Language', {
        '': 'overview',
        '*': 'questions of all',
        ...Object.fromEntries(Object.keys(data.languages).map((tag) => [tag, nameOf(tag)])),
      }),
    ];
    let view = languagesView;
    if (choice.question) view = questionView;
    else if (choice.language === '*') view = allQuestionsView;
    else if (choice.language) view = languageView;
    const { controls, ...rest } = view(choice);
    return { choice, controls: [...common, ...controls], ...rest };
  }

  // ---- paper 2: models

  const MODEL_SHAPES = ['circle', 'square', 'triangle-up', 'diamond', 'triangle-down', 'cross'];
  const MODEL_COLOURS = ['#0072B2', '#D55E00', '#009E73', '#882255', '#332288', '#E69F00', '#4D4D4D'];
  const MODEL_DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]];

  /** A colour, shape and dash for each model; no two models have the same three. */
  function modelLooks(colours) {
    const names = data.models.map((model) => model.name);
    const cycle = (list) => names.map((_, place) => list[place % list.length]);
    return {
      color: {
        field: 'model',
        type: 'nominal',
        scale: { domain: names, range: cycle(MODEL_COLOURS).map((one) => legible(one, colours.bg)) },
      },
      shape: { field: 'model', type: 'nominal', scale: { domain: names, range: cycle(MODEL_SHAPES) } },
      dash: { field: 'model', type: 'nominal', scale: { domain: names, range: cycle(MODEL_DASHES) } },
    };
  }

  function modelChoice() {
    const choice = new Choice(asked());
    choice.pick('dataset', unique(data.points.map((point) => point.dataset)), 'all');
    choice.pick('method', Object.keys(data.methods), 'msp');
    choice.points = data.points.filter((point) => point.dataset === choice.dataset);
    const values = Object.keys(data.values);
    choice.pick('x', values, 'accuracy');
    choice.pick('y', values, `${choice.method}_auroc`);
    choice.pick('sort', ['name', ...values], 'name');
    choice.pick('direction', ['up', 'down'], 'up');
    choice.curve = data.curves.find(
      (curve) => curve.dataset === choice.dataset && curve.method === choice.method,
    );
    const names = Object.keys(choice.curve?.models ?? {});
    choice.pickSome('models', names, names);
    const last = Math.max(0, (choice.curve?.thresholds.length ?? 1) - 1);
    const whole = (name, first, most) => {
      const value = Number(choice.params.get(name) ?? first);
      return Number.isFinite(value) ? Math.min(most, Math.max(0, value)) : first;
    };
    choice.at = Math.round(whole('at', Math.round(last / 2), last));
    choice.penalty = whole('penalty', Object.values(data.schemes)[0], 5);
    return choice;
  }

  function sortedPoints(choice) {
    const { sort } = choice;
    const sign = choice.direction === 'down' ? -1 : 1;
    const order = data.models.map((model) => model.name);
    const rank = (point) => (sort === 'name' ? order.indexOf(point.model) : point[sort]);
    return [...choice.points].sort((a, b) => {
      const [left, right] = [rank(a), rank(b)];
      if (left === null || right === null) return (left === null) - (right === null);
      return sign * (left - right);
    });
  }

  function pointsChart(choice) {
    const { x, y } = choice;
    const rows = choice.points.filter((point) => point[x] !== null && point[y] !== null);
    const spec = (width, colours) => {
      const { color, shape } = modelLooks(colours);
      const axis = (field, axis) => ({
        field, axis, type: 'quantitative', title: data.values[field], scale: { zero: false, nice: true, padding: 12 },
      });
      const names = { type: 'text', align: 'left', dx: 8, color: colours.fg, fontSize: 11 };
      return {
        width,
        height: 360,
        autosize: { type: 'fit-x', contains: 'padding' },
        data: { values: rows },
        encoding: { x: axis(x, { tickCount: width < 500 ? 4 : 8 }), y: axis(y) },
        layer: [
          {
            mark: { type: 'point', filled: true, size: 90, opacity: 1 },
            encoding: {
              color: { ...color, legend: null },
              shape: { ...shape, legend: null },
              tooltip: ['model', ...unique([x, y])].map((field) => ({ field })),
            },
          },
          { mark: names, encoding: { text: { field: 'model' } } },
        ],
      };
    };
    const label = `${data.values[y]} against ${data.values[x]}, ${counted(rows.length, 'model')}`;
    const without = choice.points.length - rows.length;
    const caption = `${label}, ${data.datasets[choice.dataset]}, both phrasings together.${
      without ? ` ${counted(without, 'model')} without one of the two values.` : ''}`;
    return { spec, rows, label, caption };
  }

  const modelColumns = () => [
    { name: 'Model', key: 'name', show: (point) => point.model, csv: (point) => ({ model: point.model }) },
    ...Object.entries(data.values).map(([name, text]) => ({
      name: text,
      key: name,
      show: (point) => number(point[name]),
      csv: (point) => ({ [name]: point[name] }),
    })),
  ];

  /** What a model scores at a threshold: 100 (right - penalty wrong), as shares of its answers. */
  function scored(choice, model, at) {
    const [right, abstained] = choice.curve.models[model].map((list) => list[at]);
    const wrong = Math.max(0, 1 - right - abstained);
    const score = 100 * (right - choice.penalty * wrong);
    return { model, threshold: choice.curve.thresholds[at], score, right, wrong, abstained };
  }

  function curvesChart(choice) {
    const rows = choice.models.flatMap((model) =>
      choice.curve.thresholds.map((_, at) => scored(choice, model, at)),
    );
    const spec = (width, colours) => {
      const { color, dash } = modelLooks(colours);
      const shown = (channel) => ({ ...channel, legend: { values: choice.models } });
      const x = {
        field: 'threshold',
        type: 'quantitative',
        title: `threshold of ${data.methods[choice.method]}`,
        axis: { tickCount: width < 500 ? 4 : 8 },
      };
      return {
        width,
        height: 320,
        autosize: { type: 'fit-x', contains: 'padding' },
        layer: [
          {
            data: { values: rows },
            mark: { type: 'line', strokeWidth: 1.8, clip: true },
            encoding: {
              x: { ...x, scale: { zero: false, nice: false } },
              y: { field: 'score', type: 'quantitative', title: 'score' },
              color: shown(color),
              strokeDash: shown(dash),
            },
          },
          {
            data: { values: [{ threshold: choice.curve.thresholds[choice.at] }] },
            mark: { type: 'rule', color: colours.fg, strokeDash: [3, 3] },
            encoding: { x },
          },
        ],
      };
    };
    const label = `Score by threshold of ${counted(choice.models.length, 'model')}, a wrong answer costs ${choice.penalty}`;
    const caption = `${label}: a model abstains below the threshold. A right answer counts 1, an \
abstention 0; the score is 100 times the mean. The dashed line is the chosen threshold.`;
    return { spec, rows, label, caption };
  }

  const SCORE_COLUMNS = [
    { name: 'Model', show: (row) => row.model, csv: (row) => ({ model: row.model }) },
    { name: 'Score', show: (row) => number(row.score, 1), csv: ({ threshold, score }) => ({ threshold, score }) },
    ...['right', 'wrong', 'abstained'].map((name) => ({
      name: `${name}, %`,
      show: (row) => number(100 * row[name], 1),
      csv: (row) => ({ [name]: row[name] }),
    })),
  ];

  /** A slider; it moves the address when it is released, and `follow` meanwhile. */
  function slider(name, label, value, most, step, text) {
    const output = el('output', { for: `x-${name}` }, text(value));
    const input = el('input', {
      type: 'range', id: `x-${name}`, min: 0, max: most, step, value,
      'aria-valuetext': text(value),
      oninput: (event) => {
        output.textContent = text(Number(event.target.value));
        event.target.setAttribute('aria-valuetext', output.textContent);
      },
      onchange: (event) => go({ [name]: event.target.value }),
    });
    return el('label', { class: 'x-control' }, el('span', {}, `${label} `, output), input);
  }

  function abstention(choice) {
    if (!choice.curve) return { chart: null, nodes: [el('p', {}, 'No curves of this confidence.')] };
    const chart = curvesChart(choice);
    const rows = choice.models.map((model) => scored(choice, model, choice.at));
    const { thresholds } = choice.curve;
    const file = [data.study, choice.dataset, choice.method, 'abstention'].join('-');
    const title = `Scores at the threshold ${number(thresholds[choice.at])}, penalty ${choice.penalty}`;
    const nodes = [
      el('h4', {}, 'If a model may abstain'),
      el(
        'form',
        { class: 'x-controls', onsubmit: (event) => event.preventDefault() },
        slider('at', 'Threshold', choice.at, thresholds.length - 1, 1, (at) => number(thresholds[at])),
        slider('penalty', 'Penalty of a wrong answer', choice.penalty, 5, 0.25, (value) => String(value)),
        checkboxes(choice, 'models', 'Models'),
      ),
      figure(chart, SCORE_COLUMNS, chart.rows, file),
      table(title, SCORE_COLUMNS, rows, choice),
    ];
    return { chart, nodes };
  }

  function modelStudy() {
    const choice = modelChoice();
    const chart = pointsChart(choice);
    const rows = sortedPoints(choice);
    const columns = modelColumns();
    const file = [data.study, choice.dataset, 'models'].join('-');
    const curves = abstention(choice);
    return {
      choice,
      title: `Models: ${data.datasets[choice.dataset]}`,
      path: [],
      charts: [chart, curves.chart].filter((one) => one),
      controls: [
        select(choice, 'dataset', 'Questions', data.datasets),
        select(choice, 'method', 'Confidence', data.methods),
        select(choice, 'x', 'Horizontal', data.values),
        select(choice, 'y', 'Vertical', data.values),
      ],
      status: `${data.datasets[choice.dataset]}, ${chart.label}`,
      body: [figure(chart, columns, rows, file), table('Values of the models', columns, rows, choice), ...curves.nodes],
    };
  }

  // ---- the page

  const path = el('nav', { 'aria-label': 'Where you are in the explorer', class: 'x-path' });
  const controls = el('form', { class: 'x-controls', onsubmit: (event) => event.preventDefault() });
  const status = el('p', { role: 'status', class: 'x-status' });
  const body = el('div', { class: 'x-body' });
  root.append(path, controls, status, body);
  let before = null;

  /** Draw the view of the address, and leave the focus where it was, or at the new view's title. */
  function render() {
    const focused = document.activeElement?.id;
    drawn.forEach((view) => view.finalize());
    drawn = [];
    const view = data.kind === 'languages' ? languageStudy() : modelStudy();
    const heading = el('h3', { id: 'x-title', tabindex: -1 }, view.title);
    path.replaceChildren(
      ...view.path.flatMap(([text, changes]) => [link(text, changes), ' › ']),
      ...(view.path.length ? [view.title] : []),
    );
    const unknown = view.choice.wrong.map((text) => ` There is no ${text} here.`);
    controls.replaceChildren(...view.controls.filter((control) => control));
    body.replaceChildren(heading, ...view.body.filter((part) => part));
    status.textContent = `Shown: ${view.status}.${unknown.join('')}`;
    view.charts.forEach(draw);
    const isOther = before !== null && before !== view.title;
    before = view.title;
    const again = focused?.startsWith('x-') ? document.getElementById(focused) : null;
    if (again) again.focus({ preventScroll: true });
    else if (isOther) heading.focus();
  }

  window.addEventListener('hashchange', () => {
    // another part of the page has an address of its own
    if (location.hash.startsWith(START) || location.hash === '') render();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', render);
  let width = innerWidth;
  window.addEventListener('resize', () => {
    if (innerWidth !== width) render();
    width = innerWidth;
  });
  render();
  if (location.hash.startsWith(START)) root.scrollIntoView();
})();
