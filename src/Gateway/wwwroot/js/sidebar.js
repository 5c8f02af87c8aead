// The list of conversations: open, rename, delete, write to a file, read from one.
import { exportText, importText, titleOf } from './conversation.js';
import { announce, byId, el, iconButton } from './dom.js';
import { confirmed } from './dialogs.js';

/** Shows the list and does what its buttons say. */
export class Sidebar {
  /** @param actions  open, create, rename, remove, take (imported ones), all (every conversation). */
  constructor(actions) {
    this.actions = actions;
    this.list = byId('conversations');
    byId('new-conversation').addEventListener('click', () => actions.create());
    byId('export-all').addEventListener('click', () => download('tpserve-conversations.json', exportText(actions.all())));
    byId('import').addEventListener('click', () => byId('import-file').click());
    byId('import-file').addEventListener('change', event => this.read(event.target));
  }

  /** Lays the list out anew. */
  show(conversations, current) {
    this.list.replaceChildren(...conversations.map(conversation => {
      const isCurrent = conversation === current;
      return el('li', { className: isCurrent ? 'is-current' : null },
        el('button', { type: 'button', className: 'open', 'aria-current': isCurrent ? 'true' : null, title: titleOf(conversation), onclick: () => this.actions.open(conversation), ondblclick: () => this.rename(conversation) }, titleOf(conversation)),
        iconButton('edit', `Rename ${titleOf(conversation)}`, () => this.rename(conversation), { className: 'icon-button row-action' }),
        iconButton('trash', `Delete ${titleOf(conversation)}`, () => this.remove(conversation), { className: 'icon-button row-action' }));
    }));
  }

  rename(conversation) {
    const row = [...this.list.children].find(one => one.firstChild.title === titleOf(conversation) && one.contains(document.activeElement)) ?? this.list.querySelector('.is-current');
    const field = el('input', { type: 'text', className: 'rename', maxlength: '200', 'aria-label': 'Name of the conversation', value: titleOf(conversation) });
    let isDone = false;
    const end = keep => {
      if (isDone)
        return;
      isDone = true;
      if (keep && field.value.trim())
        this.actions.rename(conversation, field.value.trim());
      else
        this.actions.redraw();
      this.list.querySelector('.is-current .open')?.focus();
    };
    field.addEventListener('keydown', event => {
      if (event.key === 'Enter')
        end(true);
      else if (event.key === 'Escape') {
        event.stopPropagation();
        end(false);
      }
    });
    field.addEventListener('blur', () => end(true));
    row.replaceChildren(field);
    field.focus();
    field.select();
  }

  async remove(conversation) {
    if (await confirmed(`Delete “${titleOf(conversation)}”?`, 'It is kept in this browser only and cannot be brought back.', 'Delete'))
      this.actions.remove(conversation);
  }

  async read(input) {
    const file = input.files[0];
    input.value = '';
    if (!file)
      return;
    try {
      const taken = importText(await file.text());
      await this.actions.take(taken);
      announce(`${taken.length} conversations read.`);
    } catch (fault) {
      byId('notice').textContent = fault.message;
      byId('notice').hidden = false;
    }
  }
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const link = el('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
