// What is open beside the chat, light or dark, and the keys. Wide windows show panels beside it; narrow ones over it, and then Escape and the veil close them.
import { showHelp } from './dialogs.js';
import { byId } from './dom.js';
import { readWish, writeWish } from './store.js';

const isWideForList = matchMedia('(min-width: 900px)');
const isWideForSide = matchMedia('(min-width: 1200px)');
const schemes = ['auto', 'light', 'dark'];

/** Which side panel is open: "ranks", "settings" or "". */
export const openPanel = () => document.body.dataset.side ?? '';

/** Wires panels, theme and keys. @param actions  create, stop (false where nothing runs), panelChanged. */
export function wireLayout(actions) {
  const shown = name => {
    const before = openPanel();
    document.body.dataset.side = name;
    for (const panel of ['ranks', 'settings']) {
      byId(`${panel}-panel`).hidden = panel !== name;
      byId(`toggle-${panel}`).setAttribute('aria-expanded', String(panel === name));
    }
    if (isWideForSide.matches)
      writeWish('side', name);
    if (before !== name)
      actions.panelChanged(name);
  };
  const listOpen = isOpen => {
    document.body.dataset.list = isOpen ? 'open' : 'closed';
    byId('toggle-list').setAttribute('aria-expanded', String(isOpen));
  };
  const closeOver = () => {
    if (!isWideForSide.matches && openPanel()) {
      byId(`toggle-${openPanel()}`).focus();
      shown('');
      return true;
    }
    if (!isWideForList.matches && document.body.dataset.list === 'open') {
      listOpen(false);
      byId('toggle-list').focus();
      return true;
    }
    return false;
  };

  for (const panel of ['ranks', 'settings'])
    byId(`toggle-${panel}`).addEventListener('click', () => {
      shown(openPanel() === panel ? '' : panel);
      if (openPanel() && !isWideForSide.matches)
        byId(`${panel}-panel`).querySelector('h2').focus();
    });
  byId('close-side').addEventListener('click', () => {
    const panel = openPanel();
    shown('');
    byId(`toggle-${panel}`)?.focus();
  });
  byId('toggle-list').addEventListener('click', () => {
    listOpen(document.body.dataset.list !== 'open');
    if (document.body.dataset.list === 'open')
      byId('new-conversation').focus();
  });
  byId('veil').addEventListener('click', closeOver);
  const fit = () => {
    listOpen(isWideForList.matches);
    shown(isWideForSide.matches ? readWish('side', 'ranks') : '');
  };
  isWideForList.addEventListener('change', fit);
  isWideForSide.addEventListener('change', fit);
  fit();

  const paint = scheme => {
    document.documentElement.dataset.scheme = scheme;
    byId('toggle-scheme').setAttribute('aria-label', `Colours: ${scheme}. Change`);
    byId('toggle-scheme').title = `Colours: ${scheme}`;
  };
  paint(readWish('scheme', 'auto'));
  byId('toggle-scheme').addEventListener('click', () => {
    const next = schemes[(schemes.indexOf(document.documentElement.dataset.scheme) + 1) % schemes.length];
    writeWish('scheme', next);
    paint(next);
  });
  byId('show-help').addEventListener('click', showHelp);

  document.addEventListener('keydown', event => {
    const isTyping = event.target.matches('input, textarea, select');
    if (document.querySelector('dialog[open]'))
      return;
    const does = event.key === 'Escape' ? () => closeOver() || actions.stop()
      : event.altKey && event.code === 'KeyN' ? actions.create
      : event.altKey && event.code === 'KeyR' ? () => byId('toggle-ranks').click()
      : event.altKey && event.code === 'KeyS' ? () => byId('toggle-settings').click()
      : event.altKey && event.code === 'KeyL' ? () => byId('toggle-list').click()
      : !isTyping && event.key === '/' ? () => byId('prompt').focus()
      : !isTyping && event.key === '?' ? showHelp
      : null;
    if (!does)
      return;
    event.preventDefault();
    does();
  });
  return { closeList: () => !isWideForList.matches && listOpen(false) };
}
