// The messages that are shown: what was asked, what was thought (folded), what was answered, and what can be done with each.
import { placeOf, shownPath } from './conversation.js';
import { announce, byId, el, iconButton } from './dom.js';
import { renderMarkdown } from './markdown.js';
import { addTokens, hidePopover, tokenView } from './tokens.js';

/** Shows one conversation in #messages. */
export class MessageList {
  /** @param actions  regenerate, edit, turn, retry, showTokens: what the buttons do. */
  constructor(actions) {
    this.actions = actions;
    this.list = byId('messages');
    this.views = new Map();
    this.editing = null;
    this.follows = true;
    this.timer = this.frame = 0;
    this.scroller = byId('scroller');
    this.scroller.addEventListener('scroll', () => {
      this.follows = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 60;
      byId('to-latest').hidden = this.follows;
      hidePopover();
    }, { passive: true });
    byId('to-latest').addEventListener('click', () => this.followLatest());
  }

  /** Lays out a conversation anew. */
  show(conversation, running) {
    hidePopover();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.timer = this.frame = 0;
    this.conversation = conversation;
    this.running = running;
    this.views.clear();
    this.list.replaceChildren(...shownPath(conversation).map(node => this.viewOf(node)));
    byId('welcome').hidden = this.list.childElementCount > 0;
    if (this.follows)
      this.followLatest();
  }

  /** Goes to the end and stays there while an answer grows. */
  followLatest() {
    this.follows = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    byId('to-latest').hidden = true;
  }

  /** An answer has grown: shown at the next frame, and no more often than half of the time goes into it. */
  grew(node) {
    if (this.timer || !this.views.has(node.id))
      return;
    const pause = Math.max(0, (this.rendered ?? 0) * 2 - 16);
    this.timer = setTimeout(() => this.frame = requestAnimationFrame(() => {
      this.timer = 0;
      const begin = performance.now();
      this.update(node, false);
      this.rendered = performance.now() - begin;
    }), pause);
  }

  /** Shows what a message is now. */
  update(node, isWhole) {
    const view = this.views.get(node.id);
    if (!view || this.conversation?.nodes[node.id] !== node)
      return;
    if (node.role === 'assistant')
      view.article.querySelector('.who').textContent = node.model ?? 'Model';
    this.fillThought(view, node, isWhole);
    this.fillBody(view, node, isWhole);
    if (this.follows)
      this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  viewOf(node) {
    const isUser = node.role === 'user';
    const isRunning = this.running?.node === node;
    const view = {
      thought: isUser ? null : el('details', { className: 'thought', hidden: true }, el('summary', {}, 'Thinking'), el('div', { className: 'thought-text' })),
      body: el('div', { className: isUser ? 'said' : 'prose' }),
    };
    view.article = el('article', { className: `message by-${node.role}`, 'aria-label': isUser ? 'You' : 'Answer', 'aria-busy': String(isRunning), dataset: { id: node.id } },
      el('p', { className: 'who' }, isUser ? 'You' : node.model ?? 'Model'), view.thought, view.body, this.faultOf(node), isRunning ? null : this.footOf(node));
    this.views.set(node.id, view);
    this.update(node, !isRunning);
    return el('li', {}, view.article);
  }

  fillThought(view, node, isWhole) {
    if (!view.thought || !node.reasoning)
      return;
    view.thought.hidden = false;
    view.thought.firstChild.textContent = node.content || isWhole ? (node.thoughtSeconds >= 0.05 ? `Thought for ${node.thoughtSeconds.toFixed(1)} s` : 'Thoughts') : 'Thinking…';
    view.thought.lastChild.textContent = node.reasoning;
  }

  fillBody(view, node, isWhole) {
    if (node.role === 'user') {
      view.body.textContent = node.content;
      return;
    }
    const asTokens = this.actions.showsTokens() && node.tokens?.length > 0;
    if (asTokens) {
      if (!view.tokens) {
        view.tokens = tokenView([]);
        view.body.replaceChildren(view.tokens);
      }
      view.tokens.querySelector('.caret')?.remove();
      view.body.querySelector('.resuming')?.remove();
      addTokens(view.tokens, node.tokens.slice(view.tokens.childElementCount));
    } else {
      view.tokens = null;
      renderMarkdown(view.body, node.content, isWhole);
    }
    if (!isWhole && node.resuming)
      view.body.append(el('p', { className: 'resuming', role: 'status' }, 'The connection was lost. Taking the answer up again…'));
    else if (!isWhole)
      caretPlace(view.body).append(el('span', { className: 'caret', 'aria-hidden': 'true' }));
  }

  faultOf(node) {
    if (!node.fault)
      return null;
    return el('div', { className: 'fault', role: 'alert' }, el('p', {}, node.fault), el('button', { type: 'button', onclick: () => this.actions.regenerate(node) }, 'Try again'));
  }

  footOf(node) {
    const place = placeOf(this.conversation, node);
    const isAnswer = node.role === 'assistant';
    const turn = by => {
      this.actions.turn(node, by);
      const shown = this.conversation.nodes[node.parent].chosen;
      this.views.get(shown)?.article.querySelector(by < 0 ? '.turn-back' : '.turn-on')?.focus();
    };
    return el('footer', { className: 'foot' },
      place.of > 1 ? el('span', { className: 'branches', role: 'group', 'aria-label': 'Versions of this message' },
        iconButton('left', 'Previous version', () => turn(-1), { className: 'icon-button turn-back', 'aria-disabled': place.at === 1 ? 'true' : null }),
        el('span', { className: 'place' }, `${place.at}/${place.of}`),
        iconButton('right', 'Next version', () => turn(1), { className: 'icon-button turn-on', 'aria-disabled': place.at === place.of ? 'true' : null })) : null,
      isAnswer ? iconButton('again', 'Answer again', () => this.actions.regenerate(node)) : null,
      iconButton('edit', isAnswer ? 'Edit this answer' : 'Edit and ask again', () => this.edit(node)),
      iconButton('copy', 'Copy text', () => this.copy(node)),
      isAnswer && node.tokens?.length > 0 ? iconButton('tokens', 'Show tokens', () => this.actions.toggleTokens(), { 'aria-pressed': String(this.actions.showsTokens()) }) : null,
      isAnswer ? el('span', { className: 'figures' }, figures(node)) : null);
  }

  async copy(node) {
    await navigator.clipboard?.writeText(node.content);
    announce('Copied.');
  }

  edit(node) {
    const view = this.views.get(node.id);
    const isUser = node.role === 'user';
    const field = el('textarea', { 'aria-label': isUser ? 'Your message' : 'The answer', rows: String(Math.min(14, Math.max(2, node.content.split('\n').length + 1))), value: node.content });
    const leave = () => {
      this.show(this.conversation, this.running);
      this.views.get(node.id)?.article.querySelector('[aria-label^="Edit"]')?.focus();
    };
    const save = () => field.value.trim() && this.actions.edit(node, field.value);
    field.addEventListener('keydown', event => {
      if (event.key === 'Escape') {
        event.stopPropagation();
        leave();
      } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        save();
      }
    });
    view.article.querySelector('.foot')?.remove();
    view.body.replaceChildren(el('div', { className: 'edit' }, field, el('div', { className: 'edit-buttons' },
      el('button', { type: 'button', onclick: leave }, 'Cancel'),
      el('button', { type: 'button', className: 'main', onclick: save }, isUser ? 'Ask again' : 'Keep as a version'))));
    view.article.classList.add('is-edited');
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

// At the end of the last line, inside the block that it belongs to.
function caretPlace(body) {
  let at = body;
  while (at.lastElementChild?.matches('p, ul, ol, li, blockquote, h1, h2, h3, h4, h5, h6, .token-view'))
    at = at.lastElementChild;
  return at;
}

function figures(node) {
  const parts = [];
  if (node.finish === 'stopped')
    parts.push('stopped');
  else if (node.finish === 'length')
    parts.push('cut at the limit');
  if (node.usage)
    parts.push(`${node.usage.completion_tokens} tokens`);
  if (node.usage?.completion_tokens > 1 && node.seconds > 0.02) {
    const rate = (node.usage.completion_tokens - 1) / node.seconds;
    parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)}/s`);
  }
  if (node.firstSeconds > 0)
    parts.push(`first after ${node.firstSeconds < 1 ? `${Math.round(node.firstSeconds * 1000)} ms` : `${node.firstSeconds.toFixed(1)} s`}`);
  return parts.join(' · ');
}
