// What a model wrote, as elements. Its text is hostile: marked makes markup of it, DOMPurify takes out whatever could run, load or deceive, and the
// browser lets nothing else become markup (Trusted Types).
import { Marked } from '../vendor/marked.js';
import '../vendor/dompurify.js';
import { el, icon } from './dom.js';

const purify = globalThis.DOMPurify;
const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    // Written tags are shown as they were written.
    html: ({ text }) => escapeText(text),
    // No picture is loaded: its address could carry what was said to another host. Its name links to it.
    image: ({ href, text }) => `<a href="${escapeText(href)}">${escapeText(text || href)}</a>`,
  },
});

const rules = {
  ALLOWED_TAGS: ['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'input', 'span'],
  ALLOWED_ATTR: ['href', 'title', 'start', 'class', 'align', 'type', 'checked', 'disabled'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_TRUSTED_TYPE: true,
};

purify.addHook('afterSanitizeAttributes', node => {
  if (node.tagName === 'A') {
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer nofollow');
  }
  if (node.tagName === 'INPUT') {
    node.setAttribute('type', 'checkbox'); // of a task list
    node.setAttribute('disabled', '');
  }
  const kept = (node.getAttribute?.('class') ?? '').split(/\s+/).filter(name => /^(language-[\w+#.-]{1,30}|hljs[\w-]*|language_|function_|class_|inherited__)$/.test(name));
  if (kept.length > 0)
    node.setAttribute('class', kept.join(' '));
  else
    node.removeAttribute?.('class');
});

function escapeText(text) {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);
}

let highlighter = null;

/** Shows markdown in an element; code is coloured once it is whole. */
export function renderMarkdown(element, text, isWhole) {
  element.innerHTML = purify.sanitize(marked.parse(text), rules);
  for (const table of element.querySelectorAll('table')) {
    const frame = el('div', { className: 'table-frame', tabindex: '0', role: 'region', 'aria-label': 'Table' });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of element.querySelectorAll('pre > code'))
    frameCode(code);
  if (isWhole && element.querySelector('pre > code[class*="language-"]'))
    colour(element);
}

function frameCode(code) {
  const pre = code.parentElement;
  const language = /language-([\w+#.-]+)/.exec(code.className)?.[1] ?? '';
  const copy = el('button', {
    type: 'button', className: 'copy-code', 'aria-label': 'Copy code', title: 'Copy code', onclick: async () => {
      await navigator.clipboard?.writeText(code.textContent);
      copy.classList.add('is-done');
      setTimeout(() => copy.classList.remove('is-done'), 1200);
    },
  }, icon('copy'));
  const frame = el('div', { className: 'code-frame' }, el('div', { className: 'code-head' }, el('span', {}, language), copy));
  pre.tabIndex = 0;
  pre.replaceWith(frame);
  frame.append(pre);
}

async function colour(element) {
  highlighter ??= import('../vendor/highlight.js').then(module => module.default);
  const hljs = await highlighter;
  for (const code of element.querySelectorAll('pre > code[class*="language-"]')) {
    const language = /language-([\w+#.-]+)/.exec(code.className)[1];
    if (hljs.getLanguage(language) && code.textContent.length < 50_000)
      code.innerHTML = purify.sanitize(hljs.highlight(code.textContent, { language, ignoreIllegals: true }).value, rules);
  }
}
