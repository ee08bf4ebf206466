// The view of the address, drawn anew whenever that changes.

const path = el('nav', { 'aria-label': 'Where you are in the explorer', class: 'x-path' });
const controls = el('form', { class: 'x-controls', onsubmit: (event) => event.preventDefault() });
const status = el('p', { role: 'status', class: 'x-status' });
const copied = el('span', { role: 'status' });
const share = el(
  'p',
  { class: 'x-save' },
  el('button', { type: 'button', id: 'x-copy', onclick: copyLink }, 'Copy link to this view'),
  copied,
);
const body = el('div', { class: 'x-body' });
root.append(path, controls, status, share, body);
let before = null;

/** Copy the address of the view; a browser that does not let us shows it instead. */
async function copyLink() {
  const link = new URL(address({}), location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    copied.replaceChildren('Copied.');
  } catch {
    const field = el('input', { readonly: true, value: link, 'aria-label': 'Link to this view' });
    copied.replaceChildren('Copy this: ', field);
    field.select();
  }
}

/** Draw the view of the address, and leave the focus where it was, or at the new view's title. */
function render() {
  const focused = document.activeElement?.id;
  drawn.forEach((view) => view.finalize());
  drawn = [];
  const view = data.kind === 'languages' ? languageStudy() : modelStudy();
  // while charts are missing the page must not get shorter, or it would scroll
  root.style.minHeight = `${root.offsetHeight}px`;
  const heading = el('h3', { id: 'x-title', tabindex: -1 }, view.title);
  path.replaceChildren(
    ...view.path.flatMap(([text, changes]) => [link(text, changes), ' › ']),
    ...(view.path.length ? [view.title] : []),
  );
  const unknown = view.choice.wrong.map((text) => ` There is no ${text} here.`);
  controls.replaceChildren(...view.controls.filter((control) => control));
  body.replaceChildren(heading, ...view.body.flat().filter((part) => part));
  status.textContent = `Shown: ${view.status}.${unknown.join('')}`;
  copied.replaceChildren();
  Promise.all(view.charts.map(draw)).then(() => {
    root.style.minHeight = '';
  });
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

/** Go to the explorer's heading: the next Tab leads to its first control. */
function arrive() {
  const heading = root.parentElement.querySelector('h2');
  heading.tabIndex = -1;
  heading.scrollIntoView();
  heading.focus({ preventScroll: true });
}

// a link to the explorer leaves the view, and the address that tells it
for (const anchor of document.querySelectorAll('a[href="#explorer"]')) {
  anchor.addEventListener('click', (event) => {
    event.preventDefault();
    arrive();
  });
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', render);
let width = innerWidth;
window.addEventListener('resize', () => {
  if (innerWidth !== width) render();
  width = innerWidth;
});
render();
if (location.hash.startsWith(START)) arrive();
