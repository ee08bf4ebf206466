// Paper 1: what there is to show, and what the address chooses.

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

/** From which condition to which. */
const stepOf = (change) => `${change.before} → ${change.after}`;

/** The metric, whether to show its values or changes, and how languages are sorted. */
function pickMetric(choice, here) {
  const changes = data.changes.filter(
    (change) =>
      change.benchmark === choice.benchmark &&
      change.model === choice.model &&
      change.readout === choice.readout &&
      change.sft === choice.sft,
  );
  const last = data.shown.conditions.at(-1);
  const first = changes.find((change) => change.after === last) ?? changes[0];
  choice.changes = changes;
  choice.pick('change', changes.map(stepOf), first && stepOf(first));
  choice.changed = changes.find((change) => stepOf(change) === choice.change) ?? null;
  choice.pick('show', choice.changed ? ['value', 'change'] : ['value'], 'value');
  // a change that is not tested is the difference of two values
  const blocks = choice.show === 'change' ? [choice.changed, ...here] : here;
  const metrics = Object.keys(data.metrics).filter((metric) =>
    blocks.some((block) => metric in block.metrics),
  );
  // a view without the metric that is shown first says so, as if the address had asked for it
  if (!choice.params.has('metric')) choice.params.set('metric', data.shown.metric);
  choice.pick('metric', metrics);
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
const readoutOf = (choice) => data.readouts[choice.readout];
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
