// What stands before everything else for a moment: a key that is asked for, a question, the list of shortcuts.
import { readKey, writeKey } from './api.js';
import { byId } from './dom.js';

let asking = null;

/** Asks for a key; true where one was given. Asked once at a time, whoever asks. */
export function askKey(reason) {
  asking ??= new Promise(resolve => {
    const dialog = byId('key-dialog');
    byId('key-reason').textContent = reason;
    byId('key').value = readKey();
    dialog.returnValue = '';
    dialog.showModal();
    dialog.addEventListener('close', () => {
      asking = null;
      const isGiven = dialog.returnValue === 'keep';
      if (isGiven)
        writeKey(byId('key').value.trim());
      resolve(isGiven);
    }, { once: true });
  });
  return asking;
}

/** Asks a question; true where it is answered by the button that does it. */
export function confirmed(title, text, word) {
  return new Promise(resolve => {
    const dialog = byId('confirm-dialog');
    byId('confirm-title').textContent = title;
    byId('confirm-text').textContent = text;
    byId('confirm-yes').textContent = word;
    dialog.returnValue = '';
    dialog.showModal();
    byId('confirm-no').focus();
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Shows the shortcuts. */
export const showHelp = () => byId('help-dialog').showModal();

/** Wires the buttons: each closes its dialog with what it stands for. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    for (const button of dialog.querySelectorAll('button[value]'))
      button.addEventListener('click', () => dialog.close(button.value));
    dialog.addEventListener('click', event => event.target === dialog && dialog.close('')); // beside it
  }
  byId('key').addEventListener('keydown', event => event.key === 'Enter' && byId('key-dialog').close('keep'));
  byId('show-key').addEventListener('change', event => {
    byId('key').type = event.target.checked ? 'text' : 'password';
  });
}
