// Paper 1: questions, those of a language and one in all languages.

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
      ...(before && after ? distance(choice, before, after) : { change: null, isSum: false }),
    };
  });
}

const ABOUT_CARDS = 'Beside an option stands who chose it, and how sure of it.';
const DISTANCE = 'the difference of the two confidences, or their sum if the answers differ';

/** How far apart two answers are, and whether that is the sum of their confidences. */
function distance(choice, before, after) {
  const isProbability = diagrams.has(key(choice.benchmark, choice.readout, [...choice.runs.values()][0]));
  const isSum = isProbability && before.option !== after.option;
  return { change: isSum ? before.sure + after.sure : Math.abs(before.sure - after.sure), isSum };
}

/** The change of a question in words. */
function changeOf(one) {
  if (one.change === null) return null;
  const what = one.isSum ? 'another answer, sum of the confidences' : 'change of confidence';
  return `${what} ${number(one.change)}`;
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
    choice.questions.about ? el('p', {}, `${choice.benchmark}: ${choice.questions.about}.`) : null,
    el('p', { class: 'x-labels' }, ABOUT_CARDS),
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
    changeOf(one),
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
  const tags = choice.languages.filter((tag) => isScored(choice, tag));
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
    status: `Questions in ${counted(tags.length, 'language')}, ${choice.model}, ${readoutOf(choice)}`,
    body: [questionList(choice, tags, file)],
  };
}

/** One question in all languages. */
function questionView(choice) {
  const tags = sorted(choice, choice.languages);
  const questions = tags.flatMap((tag) =>
    questionsIn(choice, tag).filter((one) => one.id === choice.question),
  );
  // filters leave it, as it tells what the others ask
  const reference = data.shown.reference_language;
  const told = questionsIn(choice, reference).find((one) => one.id === choice.question)?.text;
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
      told
        ? el('p', {}, `In ${data.languages[reference].name}: `, el('q', { lang: reference, dir: 'auto' }, told))
        : null,
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
      tooltip: tooltip(['name', 'condition', 'answer'], ['sure']),
    };
    return {
      width,
      height: unique(rows.map((row) => row.name)).length * 17,
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
  const leads = (tag) => ({ language: tag, question: null });
  return { spec, rows, label, caption, tags: questions.map((one) => one.tag), leads };
}
