// Paper 1: all languages, and one of them.

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
      name: 'Resource level',
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
  const shown = choice.show === 'change' ? changeColumns(choice) : valueColumns(choice);
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

/** Whether the table of changes has the metric; if not, a change is a difference of two values. */
const isTested = (choice) => choice.metric in choice.changed.metrics;

const HOLM = "after Holm's correction for all tests of the change (languages, readouts and metrics)";

/** What the intervals and p of changes are, in the words of the page's list of outcomes. */
function aboutChanges(choice) {
  if (isTested(choice)) {
    return `Bars are 95 % intervals of single languages. Filled: p < ${data.alpha} ${HOLM}; open: not.`;
  }
  const tested = Object.keys(data.metrics).filter((name) => name in choice.changed.metrics);
  const names = tested.map((name) => data.metrics[name]);
  const seed = choice.changed.seeds > 1 ? ` of seed ${choice.seed}` : '';
  return `A change of ${data.metrics[choice.metric]} has no interval and no test: it is the \
difference of the two values${seed}. Tested are changes of ${names.join('; ')}.`;
}

const P_TITLE = "p after Holm's correction";
const shownP = (p) => (p !== null && p < 0.001 ? '< 0.001' : number(p));

function changeColumns(choice) {
  const change = {
    name: choice.change,
    key: 'change',
    show: (tag) => interval(changeIn(choice, tag), signed),
    csv: (tag) => {
      const { value, low, high, p } = changeIn(choice, tag) ?? {};
      return { change: value, low, high, p_holm: p };
    },
  };
  const tested = {
    name: P_TITLE,
    show: (tag) => shownP(changeIn(choice, tag)?.p ?? null),
    csv: () => ({}),
  };
  return isTested(choice) ? [change, tested] : [change];
}

const FILLED = { filled: true, size: 55 };
const OPEN = { filled: false, size: 35, strokeWidth: 1.2 };

function languagesChart(choice, tags) {
  const isChange = choice.show === 'change';
  const conditions = isChange ? [choice.changed.after] : choice.conditions;
  const rows = tags.flatMap((tag) =>
    conditions.map((condition) => {
      const cell = isChange ? changeIn(choice, tag) : valueIn(choice, condition, tag);
      const filled = !isChange || ((cell?.p ?? null) !== null && cell.p < data.alpha);
      return { tag, condition, name: nameOf(tag), filled, ...cell };
    }),
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
    const axis = { tickCount: width < 500 ? 4 : 8, orient: 'top' };
    const words = width < 500 ? title.split(': ') : title;
    const x = { type: 'quantitative', title: words, axis, scale: { zero: false } };
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
        ...[true, false].map((isFilled) => ({
          transform: [{ filter: `datum.filled == ${isFilled}` }],
          mark: { type: 'point', opacity: 1, cursor: 'pointer', ...(isFilled ? FILLED : OPEN) },
          encoding: {
            y, yOffset: offset, x: { field: 'value', ...x }, ...look,
            tooltip: tooltip(['name', 'condition'], ['value', 'low', 'high']),
          },
        })),
      ],
    };
  };
  const label = `${title} of ${choice.model} in ${counted(tags.length, 'language')}`;
  const bars = isChange ? aboutChanges(choice) : 'Bars are 95 % intervals, where there are any.';
  const caption = `${label}. ${bars} Click a mark or a language to see more of it; on the keyboard, \
arrow keys lead from language to language.`;
  return { spec, rows, title, label, caption, tags, leads: (tag) => ({ language: tag }) };
}

/** Whether there is anything to draw of a language. */
function isValued(choice, tag) {
  const cells =
    choice.show === 'change'
      ? [changeIn(choice, tag)]
      : choice.conditions.map((condition) => valueIn(choice, condition, tag));
  return cells.some((cell) => (cell?.value ?? null) !== null);
}

const allQuestions = (choice) =>
  choice.changed
    ? `Which answers changed most, in all languages? (${choice.change})`
    : 'Questions of all languages';

function languagesView(choice) {
  const tags = sorted(choice, choice.languages);
  const shown = tags.filter((tag) => isValued(choice, tag));
  const without = tags.length - shown.length;
  const chart = languagesChart(choice, shown);
  const columns = languageColumns(choice);
  const name = [data.study, choice.model, choice.benchmark, choice.readout, choice.metric].join('-');
  const metric = data.metrics[choice.metric];
  const title = capital(`${choice.show === 'change' ? `change of ${metric}` : metric} by language`);
  return {
    title,
    path: [],
    charts: [chart],
    controls: languageControls(choice),
    status: `${counted(shown.length, 'language')}\
${without ? ` (${without} more without values)` : ''}, ${choice.model}, ${chart.title}`,
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

// ---- one language

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
              tooltip: tooltip(['n'], ['confidence', 'accuracy', 'low', 'high']),
            },
          },
        ],
      };
    };
    return { columns, concat: filled.map(panel), spacing: 16 };
  };
  const label = `Reliability diagrams of ${choice.model} in ${nameOf(tag)}, one for each condition`;
  const caption = `${label}: accuracy against confidence. A point is a bin, questions of similar \
confidence, and is larger the more they are; neighbouring bins with few questions are joined. The band \
is the 95 % interval of the accuracy. On the dashed line a model is calibrated.`;
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

/** Whether the readout has values of any condition in a language. */
const isScored = (choice, tag) =>
  choice.conditions.some((condition) => cellOf(choice, condition)?.languages.includes(tag));

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
  return table(`${nameOf(tag)}: ${choice.model}, ${readoutOf(choice)}`, columns, choice.conditions, choice);
}

/** Whether a change is shown in a language, or the contrary of the average, or neither. */
function verdict({ value, low, high, p }, mean) {
  if (low === null) return 'not tested';
  if (low <= 0 && high >= 0) return 'undecided: the interval includes 0';
  const moved = value > 0 ? 'raised' : 'lowered';
  const isLeft = p !== null && p < data.alpha;
  const strength = isLeft ? 'shown' : 'suggested';
  const left = isLeft ? '' : "; not significant after Holm's correction";
  if (!mean) return `${strength}: ${moved}${left}`;
  if (value > 0 === mean > 0) return `${strength}: ${moved}, as on average${left}`;
  return `contrary ${strength}: ${moved}, unlike the average${left}`;
}

/** What SFT and smoothing did in a language: a row for each change that has a value there. */
function verdicts(choice, tag) {
  // a metric that is not tested gives way to that of the finding
  const metric = [choice.metric, data.shown.tested].find((name) =>
    choice.changes.some((change) => name in change.metrics),
  );
  const rows = choice.changes
    .map((change) => ({ change, cell: estimate(change, metric, tag) }))
    .filter(({ cell }) => cell && cell.value !== null);
  if (!rows.length) return null;
  const { seeds } = rows[0].change;
  const columns = [
    { name: 'From → to', show: (row) => stepOf(row.change) },
    { name: `Change of ${data.metrics[metric]}`, show: (row) => interval(row.cell, signed) },
    { name: P_TITLE, show: (row) => shownP(row.cell.p) },
    { name: 'In words', show: (row) => verdict(row.cell, row.change.means[metric]) },
  ];
  const other = metric === choice.metric ? '' : `Changes of ${data.metrics[choice.metric]} are not tested. `;
  return [
    table(`What changed in ${nameOf(tag)}`, columns, rows, choice),
    el(
      'p',
      { class: 'x-caption' },
      `${other}Intervals hold 95 % in this language alone${seeds > 1 ? `, of means over ${seeds} seeds` : ''}; \
p is ${HOLM}. The average is that of ${choice.model} over languages other than English (over all if there \
is no other).`,
    ),
  ];
}

function languageView(choice) {
  const tag = choice.language;
  const chart = reliabilityChart(choice, tag);
  const { name, own, level, script } = data.languages[tag];
  const file = [data.study, choice.model, choice.benchmark, choice.readout, tag].join('-');
  return {
    title: name,
    path: [['All languages', { language: null }]],
    charts: chart ? [chart] : [],
    controls: [
      select(choice, 'metric', 'Metric', data.metrics),
      checkboxes(choice, 'conditions', 'Conditions'),
      ...questionControls(choice),
    ],
    status: `${nameOf(tag)}, ${choice.model}, ${readoutOf(choice)}`,
    body: [
      el('p', {}, el('span', { lang: tag, dir: 'auto' }, own), ` · ${level} resource level · ${script} script`),
      isScored(choice, tag) ? summary(choice, tag) : el('p', {}, `There are no values by ${readoutOf(choice)} in ${name}.`),
      verdicts(choice, tag),
      chart ? figure(chart, POINT_COLUMNS, chart.rows, `${file}-reliability`) : null,
      chart ? fold('Numbers of the diagrams', table('Points of the diagrams', POINT_COLUMNS, chart.rows, choice)) : null,
      questionList(choice, [tag], file),
    ],
  };
}

function languageStudy() {
  const choice = languageChoice();
  const common = [
    select(choice, 'model', 'Model'),
    select(choice, 'benchmark', 'Benchmark'),
    select(choice, 'readout', 'Confidence by', data.readouts),
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
