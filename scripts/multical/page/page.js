// On a narrow screen, figures and tables are folded. A wide screen, print, and a browser without
// scripts have them open.

const narrowScreen = matchMedia('screen and (max-width: 40rem)');

function setLong(isOpen) {
  for (const long of document.querySelectorAll('details.long')) long.open = isOpen;
}

/** Open the figure or table whose title the address names. */
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  target?.closest('details.long')?.setAttribute('open', '');
}

narrowScreen.addEventListener('change', () => setLong(!narrowScreen.matches));
// a change of medium comes too late for print
window.addEventListener('beforeprint', () => setLong(true));
window.addEventListener('hashchange', openTarget);
setLong(!narrowScreen.matches);
openTarget();
