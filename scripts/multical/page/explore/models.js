// Paper 2: models as points, and their scores with abstention.

const LINE_WIDTH = 1.8;
/** The most that a wrong answer can cost. */
const MOST_PENALTY = 5;

/** The colour, shape and dash of each model, those of the figures. Dashes are as long there. */
function modelLooks(colours) {
  const { models } = data;
  const channel = (range) => ({
    field: 'model',
    type: 'nominal',
    scale: { domain: models.map((model) => model.name), range },
  });
  return {
    color: channel(models.map((model) => legible(model.colour, colours.bg))),
    shape: channel(models.map((model) => model.shape)),
    dash: channel(models.map((model) => model.dash.map((part) => part * LINE_WIDTH))),
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
  const thresholds = choice.curve?.thresholds ?? [];
  choice.at = nearest(thresholds, choice.number('threshold', thresholds[thresholds.length >> 1]));
  const penalty = choice.number('penalty', Object.values(data.schemes)[0]);
  choice.penalty = Math.min(MOST_PENALTY, Math.max(0, penalty));
  return choice;
}

/** The place of the number that is nearest to another. */
function nearest(numbers, wanted) {
  const distance = (place) => Math.abs(numbers[place] - wanted);
  return numbers.reduce((best, _, place) => (distance(place) < distance(best) ? place : best), 0);
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

const ABOUT_METHODS = {
  msp: 'MSP is the probability of the answer that a model gives.',
  maxlogit: 'Max Logit is its score before scores become probabilities.',
  margin: 'Margin is the lead of its probability over the next.',
  entropy: 'Entropy is high where all answers are about as probable; less of it is more confidence.',
};
const ABOUT_VALUES = 'AUROC is how often a right answer has more confidence than a wrong one: 0.5 is a guess, \
1 is best. Of the calibration error 0 is best.';

/** Where a name can stand: the look of its text, and its left edge and middle for a width of text. */
const SIDES = {
  right: { align: 'left', dx: 8, at: () => [8, 0] },
  left: { align: 'right', dx: -8, at: (wide) => [-8 - wide, 0] },
  above: { align: 'center', dy: -12, at: (wide) => [-wide / 2, -12] },
  below: { align: 'center', dy: 12, at: (wide) => [-wide / 2, 12] },
};
const NAME_SIZE = 11;
const POINTS_HEIGHT = 360;

/** The points, each with the side on which its name meets no other name or point, if there is one. */
function sided(rows, x, y, width) {
  const scale = (field, size) => {
    const values = rows.map((row) => row[field]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (row) => (size * (row[field] - low)) / (high - low || 1);
  };
  // about: axes take some of the width, and round the ends of what they show
  const [left, top] = [scale(x, width - 80), scale(y, -POINTS_HEIGHT + 40)];
  const taken = rows.map((row) => [left(row) - 5, left(row) + 5, top(row)]);
  // a name may touch its own point
  const isFree = ([from, to, middle], place) =>
    from > -25 &&
    to < width - 70 &&
    taken.every(
      ([a, b, m], other) =>
        other === place || to < a || from > b || Math.abs(middle - m) >= NAME_SIZE,
    );
  return rows.map((row, place) => {
    const wide = 0.6 * NAME_SIZE * row.model.length;
    const boxes = Object.entries(SIDES).map(([side, { at }]) => {
      const [across, down] = at(wide);
      return { side, box: [left(row) + across, left(row) + across + wide, top(row) + down] };
    });
    const { side, box } = boxes.find((one) => isFree(one.box, place)) ?? boxes[0];
    taken.push(box);
    return { ...row, side };
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
    const names = { type: 'text', color: colours.fg, fontSize: NAME_SIZE };
    return {
      width,
      height: POINTS_HEIGHT,
      autosize: { type: 'fit-x', contains: 'padding' },
      data: { values: sided(rows, x, y, width) },
      encoding: { x: axis(x, { tickCount: width < 500 ? 4 : 8 }), y: axis(y) },
      layer: [
        {
          mark: { type: 'point', filled: true, size: 90, opacity: 1 },
          encoding: {
            color: { ...color, legend: null },
            shape: { ...shape, legend: null },
            tooltip: tooltip(['model'], unique([x, y])),
          },
        },
        ...Object.entries(SIDES).map(([side, { at, ...look }]) => ({
          transform: [{ filter: `datum.side == '${side}'` }],
          mark: { ...names, ...look },
          encoding: { text: { field: 'model' } },
        })),
      ],
    };
  };
  const label = `${data.values[y]} against ${data.values[x]}, ${counted(rows.length, 'model')}`;
  const without = choice.points.length - rows.length;
  const left = without ? ` ${counted(without, 'model')} without one of the two values.` : '';
  const methods = Object.keys(data.methods).map((name) => ABOUT_METHODS[name]);
  const caption = `${label} (${data.datasets[choice.dataset]}, both phrasings of the prompt together).\
${left} ${methods.join(' ')} ${ABOUT_VALUES}`;
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

/** What the rings of the chart are. */
const RING = 'threshold chosen on labelled answers';

function curvesChart(choice) {
  const rows = choice.models.flatMap((model) =>
    choice.curve.thresholds.map((_, at) => scored(choice, model, at)),
  );
  const chosen = choice.models.flatMap((model) => {
    const at = choice.curve.chosen[choice.penalty]?.[model];
    return at === undefined ? [] : [scored(choice, model, at)];
  });
  const spec = (width, colours) => {
    const { color, dash } = modelLooks(colours);
    const shown = (channel) => ({ ...channel, legend: { values: choice.models } });
    const ring = { type: 'point', size: 80, opacity: 1, strokeWidth: 2, fill: colours.bg };
    const named = {
      datum: RING,
      type: 'nominal',
      scale: { domain: [RING], range: ['circle'] },
      legend: { orient: 'bottom', labelLimit: 260 },
    };
    const y = { field: 'score', type: 'quantitative', title: 'score' };
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
          mark: { type: 'line', strokeWidth: LINE_WIDTH, clip: true },
          encoding: {
            x: { ...x, scale: { zero: false, nice: false } },
            y,
            color: shown(color),
            strokeDash: shown(dash),
          },
        },
        {
          data: { values: chosen },
          mark: ring,
          encoding: {
            x,
            y,
            stroke: { ...color, legend: null },
            tooltip: tooltip(['model'], ['threshold', 'score', 'right', 'wrong', 'abstained']),
          },
        },
        // draws no ring: it has the legend, in which a ring has the colour of no model
        ...(chosen.length
          ? [{ data: { values: [] }, mark: { ...ring, stroke: colours.fg }, encoding: { shape: named } }]
          : []),
        {
          data: { values: [{ threshold: choice.curve.thresholds[choice.at] }] },
          mark: { type: 'rule', color: colours.fg, strokeDash: [3, 3] },
          encoding: { x },
        },
      ],
    };
  };
  const label = `Score by threshold of ${counted(choice.models.length, 'model')}, a wrong answer costs ${choice.penalty}`;
  const rings = chosen.length
    ? `A ring is the threshold that was chosen for its model and this cost on ${data.k} labelled \
answers of each data set, drawn at random once; the scores are of all other answers.`
    : `No thresholds were chosen for this cost, only for ${Object.values(data.schemes).join(' and ')}.`;
  const caption = `${label}: a model abstains where its confidence is below the threshold. A right answer \
counts 1, an abstention 0; the score is 100 times the mean. The dashed line is the threshold of the slider. \
${rings}`;
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

/** A slider; when it is released, the address gets what `told` makes of its value. */
function slider(name, label, value, most, step, text, told = String) {
  const output = el('output', { for: `x-${name}` }, text(value));
  const input = el('input', {
    type: 'range', id: `x-${name}`, min: 0, max: most, step, value,
    'aria-valuetext': text(value),
    oninput: (event) => {
      output.textContent = text(Number(event.target.value));
      event.target.setAttribute('aria-valuetext', output.textContent);
    },
    onchange: (event) => go({ [name]: told(Number(event.target.value)) }),
  });
  return el('label', { class: 'x-control' }, el('span', {}, `${label} `, output), input);
}

function abstention(choice) {
  if (!choice.curve) return { chart: null, nodes: [el('p', {}, 'No curves of this confidence.')] };
  const chart = curvesChart(choice);
  const rows = choice.models.map((model) => scored(choice, model, choice.at));
  const { thresholds } = choice.curve;
  const file = [data.study, choice.dataset, choice.method, 'abstention'].join('-');
  const title = `Scores at the threshold ${number(thresholds[choice.at])}, a wrong answer costs ${choice.penalty}`;
  const nodes = [
    el('h4', {}, 'If a model may abstain'),
    el(
      'form',
      { class: 'x-controls', onsubmit: (event) => event.preventDefault() },
      slider(
        'threshold', 'Threshold', choice.at, thresholds.length - 1, 1,
        (at) => number(thresholds[at]),
        (at) => thresholds[at],
      ),
      slider('penalty', 'Cost of a wrong answer', choice.penalty, MOST_PENALTY, 0.25, String),
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
      select(choice, 'dataset', 'Data set', data.datasets),
      select(choice, 'method', 'Confidence by', data.methods),
      select(choice, 'x', 'Horizontal axis', data.values),
      select(choice, 'y', 'Vertical axis', data.values),
    ],
    status: `${data.datasets[choice.dataset]}, ${chart.label}`,
    body: [figure(chart, columns, rows, file), table('Values of the models', columns, rows, choice), ...curves.nodes],
  };
}
