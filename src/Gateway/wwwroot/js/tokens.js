// An answer token by token: how sure the model was is each token's tint, and what else could have stood there shows on hover, touch or focus.
import { byId, el } from './dom.js';

/** A view of tokens; one stop for the Tab key, arrows go from token to token. */
export function tokenView(tokens) {
  const view = el('div', { className: 'token-view', role: 'group', 'aria-label': 'Tokens with their probabilities; arrow keys move' });
  addTokens(view, tokens);
  view.addEventListener('pointerover', event => showFor(event.target));
  view.addEventListener('pointerleave', hidePopover);
  view.addEventListener('focusin', event => showFor(event.target));
  view.addEventListener('focusout', hidePopover);
  view.addEventListener('keydown', moveFocus);
  return view;
}

/** Adds what came new. */
export function addTokens(view, tokens) {
  for (const token of tokens) {
    const probability = Math.exp(token.logprob);
    const element = el('span', {
      className: 'token', role: 'img', tabindex: view.childElementCount === 0 ? '0' : '-1',
      dataset: { sure: String(Math.min(4, Math.floor(probability * 5))) },
      'aria-label': `${visible(token.text)}, ${percent(probability)}`,
    }, token.text);
    element.token = token;
    view.append(element);
  }
}

function moveFocus(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const next = step === 1 ? event.target.nextElementSibling : step === -1 ? event.target.previousElementSibling
    : event.key === 'Home' ? event.currentTarget.firstElementChild : event.key === 'End' ? event.currentTarget.lastElementChild : null;
  if (!next)
    return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function showFor(target) {
  const token = target.token;
  if (!token)
    return;
  const popover = byId('token-popover');
  const rows = token.top.length > 0 ? token.top : [token];
  popover.replaceChildren(
    el('p', { className: 'token-head' }, el('code', {}, visible(token.text)), el('span', {}, `${percent(Math.exp(token.logprob))} · ${token.logprob.toFixed(3)}`)),
    el('ol', {}, rows.map(row => {
      const bar = el('span', { className: 'token-bar' });
      bar.style.width = `${100 * Math.exp(row.logprob)}%`;
      return el('li', { className: row.text === token.text ? 'is-chosen' : null }, el('code', {}, visible(row.text)), el('span', { className: 'token-track' }, bar), el('span', { className: 'token-share' }, percent(Math.exp(row.logprob))));
    })));
  popover.hidden = false;
  const box = target.getClientRects()[0] ?? target.getBoundingClientRect();
  const size = popover.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, innerWidth - size.width - 8));
  const top = box.bottom + 6 + size.height < innerHeight ? box.bottom + 6 : Math.max(8, box.top - size.height - 6);
  popover.style.left = `${left}px`;
  popover.style.top = `${top}px`;
}

/** Takes the popover away. */
export function hidePopover() {
  byId('token-popover').hidden = true;
}

const visible = text => text === '' ? '∅' : text.replace(/ /g, '·').replace(/\n/g, '⏎').replace(/\t/g, '⇥');

function percent(share) {
  return share >= 0.9995 ? '100 %' : share >= 0.001 ? `${(100 * share).toFixed(1)} %` : '<0.1 %';
}
