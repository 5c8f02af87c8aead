// A conversation as a tree: every message has a parent, an edit or another answer is one more child, and each node knows which child is shown.
// Pure data and functions over it; node 0 is the root and holds no message.

const roles = new Set(['user', 'assistant']);
const mostImported = 10_000;

/** A conversation without messages. */
export function createConversation(settings) {
  const now = Date.now();
  return { id: crypto.randomUUID(), title: '', isNamed: false, created: now, updated: now, settings: { ...settings }, nodes: [root()] };
}

function root() {
  return { id: 0, parent: -1, role: 'root', content: '', children: [], chosen: -1 };
}

/** Adds a message under another one and shows it. */
export function addMessage(conversation, parent, role, content) {
  const node = { id: conversation.nodes.length, parent, role, content, children: [], chosen: -1, created: Date.now() };
  conversation.nodes.push(node);
  conversation.nodes[parent].children.push(node.id);
  conversation.nodes[parent].chosen = node.id;
  return node;
}

/** The messages that are shown, first to last. */
export function shownPath(conversation) {
  const path = [];
  for (let at = conversation.nodes[0].chosen; at > 0; at = conversation.nodes[at].chosen)
    path.push(conversation.nodes[at]);
  return path;
}

/** The last message shown, or the root. */
export function lastShown(conversation) {
  return shownPath(conversation).at(-1) ?? conversation.nodes[0];
}

/** Which of its parent's children a message is, counted from 1, and of how many. */
export function placeOf(conversation, node) {
  const siblings = conversation.nodes[node.parent].children;
  return { at: siblings.indexOf(node.id) + 1, of: siblings.length };
}

/** Shows the sibling so many places further; false where there is none. */
export function turnBranch(conversation, node, by) {
  const parent = conversation.nodes[node.parent];
  const next = parent.children[parent.children.indexOf(node.id) + by];
  if (next === undefined)
    return false;
  parent.chosen = next;
  return true;
}

/** What is sent for an answer under a message: instructions and the way from the root to it. */
export function messagesUpTo(conversation, node) {
  const messages = [];
  for (let at = node; at.id !== 0; at = conversation.nodes[at.parent])
    messages.unshift({ role: at.role, content: at.content });
  if (conversation.settings.system?.trim())
    messages.unshift({ role: 'system', content: conversation.settings.system });
  return messages;
}

/** What the list calls it. */
export function titleOf(conversation) {
  if (conversation.title)
    return conversation.title;
  const first = conversation.nodes.find(node => node.role === 'user');
  const words = first?.content.trim().replace(/\s+/g, ' ') ?? '';
  return words.length > 60 ? words.slice(0, 57).trimEnd() + '…' : words || 'New conversation';
}

/** What is written into a file. */
export function exportText(conversations) {
  return JSON.stringify({ format: 'tpserve-conversations', version: 1, conversations }, null, 1);
}

/** Conversations of a file, under new names; throws an Error that says what is wrong with it. */
export function importText(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error('The file is not JSON.');
  }
  if (file?.format !== 'tpserve-conversations' || !Array.isArray(file.conversations))
    throw new Error('The file holds no conversations of this page.');
  return file.conversations.map(readConversation);
}

// Nothing of a file is taken over as it is: every field is read by its type, and what is not known is left behind.
function readConversation(given) {
  const nodes = Array.isArray(given?.nodes) ? given.nodes : [];
  if (nodes.length === 0 || nodes.length > mostImported)
    throw new Error('A conversation of the file has no messages, or too many.');
  const conversation = createConversation(readSettings(given.settings));
  conversation.title = text(given.title).slice(0, 200);
  conversation.isNamed = conversation.title !== '';
  nodes.slice(1).forEach((one, index) => {
    const id = index + 1;
    if (!roles.has(one?.role) || !Number.isInteger(one.parent) || one.parent < 0 || one.parent >= id)
      throw new Error(`Message ${id} of a conversation is not one.`);
    const node = addMessage(conversation, one.parent, one.role, text(one.content));
    node.reasoning = text(one.reasoning);
    node.finish = text(one.finish);
    node.tokens = (Array.isArray(one.tokens) ? one.tokens : []).map(readToken);
  });
  nodes.forEach((one, id) => {
    if (conversation.nodes[id].children.includes(one?.chosen))
      conversation.nodes[id].chosen = one.chosen;
  });
  return conversation;
}

function readSettings(given) {
  const settings = { system: text(given?.system) };
  for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'frequency_penalty', 'repetition_penalty', 'seed', 'max_tokens'])
    if (Number.isFinite(given?.[name]))
      settings[name] = given[name];
  settings.logprobs = given?.logprobs === true;
  return settings;
}

function readToken(given) {
  return { text: text(given?.text), logprob: number(given?.logprob), top: (Array.isArray(given?.top) ? given.top : []).slice(0, 20).map(one => ({ text: text(one?.text), logprob: number(one?.logprob) })) };
}

const text = value => typeof value === 'string' ? value : '';
const number = value => Number.isFinite(value) ? value : -99;
