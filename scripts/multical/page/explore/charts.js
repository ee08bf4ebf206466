// Charts by Vega-Lite, and what saves them.

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
  if (chart.leads) {
    view.addEventListener('click', (event, item) => {
      if (item?.datum?.tag) go(chart.leads(item.datum.tag));
    });
  }
  await view.runAsync();
  if (chart.leads) linkNames(chart);
  else chart.node.querySelector('svg').setAttribute('aria-hidden', 'true');
  chart.node.dataset.drawn = 'true';
}

const ARIA = ['aria-hidden', 'aria-label', 'aria-roledescription', 'role'];

/**
 * Make links of the names of languages on the axis, which lead where the marks do. Tab stops at one
 * of them, and arrow keys lead to the others.
 */
function linkNames(chart) {
  const tags = new Map(chart.tags.map((tag) => [nameOf(tag), tag]));
  const anchors = [];
  for (const text of chart.node.querySelectorAll('.role-axis-label text')) {
    // Vega keeps the item of an element there; the text itself may be cut
    const name = text.__data__.datum.value;
    if (!tags.has(name)) continue;
    const anchor = document.createElementNS('http://www.w3.org/2000/svg', 'a');
    anchor.setAttribute('href', address(chart.leads(tags.get(name))));
    anchor.setAttribute('aria-label', name);
    anchor.tabIndex = anchors.length ? -1 : 0;
    text.replaceWith(anchor);
    anchor.append(text);
    anchors.push(anchor);
  }
  chart.node.addEventListener('keydown', (event) => moveFocus(event, anchors));
  // what is no link has its numbers in the table
  for (const part of chart.node.querySelectorAll('svg, svg g')) {
    if (!part.querySelector('a')) part.setAttribute('aria-hidden', 'true');
    else for (const name of ARIA) part.removeAttribute(name);
  }
}

const STEPS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Go from one of several elements to another that a key asks for; Tab will come back to it. */
function moveFocus(event, elements) {
  const step = STEPS[event.key];
  const from = elements.indexOf(event.target);
  if (!step || from < 0) return;
  event.preventDefault();
  const to = elements[Math.max(0, Math.min(elements.length - 1, from + step))];
  elements[from].tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

/** What a mark says of itself under the mouse: texts, and numbers with three digits. */
const tooltip = (texts, numbers) => [
  ...texts.map((field) => ({ field })),
  ...numbers.map((field) => ({ field, format: '.3f' })),
];

/** A chart with its name, and buttons that save it and the numbers of its table. */
function figure(chart, columns, rows, name) {
  const role = chart.leads ? 'group' : 'img';
  chart.node = el('div', { class: 'x-chart', role, 'aria-label': chart.label });
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
