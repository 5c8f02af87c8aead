// The page: one conversation shown, its answers streamed, everything kept in this browser. Read on: conversation.js (the tree), answering.js (an answer),
// messages.js (how it looks), live.js and ranks.js (the server, drawn).
import { getJson } from './api.js';
import { answer, runningIn, stopAnswer } from './answering.js';
import { addMessage, createConversation, lastShown, turnBranch } from './conversation.js';
import { askKey, wireDialogs } from './dialogs.js';
import { announce, byId, icon } from './dom.js';
import { openPanel, wireLayout } from './layout.js';
import { LiveFeed } from './live.js';
import { MessageList } from './messages.js';
import { RanksView } from './ranks.js';
import { SettingsPanel } from './settings.js';
import { Sidebar } from './sidebar.js';
import { deleteConversation, readConversations, readWish, writeConversation, writeWish } from './store.js';

let conversations = [];
let current = null;
let showsTokens = readWish('tokens', true);
let refusedAt = 0; // when a key was asked for and not given

const messages = new MessageList({
  regenerate: node => ask(current.nodes[node.parent]),
  edit,
  turn: (node, by) => turnBranch(current, node, by) && redraw(),
  showsTokens: () => showsTokens,
  toggleTokens: () => {
    showsTokens = !showsTokens;
    writeWish('tokens', showsTokens);
    redraw();
  },
});
const sidebar = new Sidebar({
  open: conversation => {
    open(conversation);
    layout.closeList();
  },
  create,
  rename: (conversation, title) => {
    Object.assign(conversation, { title, isNamed: true });
    keep(conversation);
    redraw();
  },
  remove,
  take: async taken => {
    conversations.unshift(...taken);
    await Promise.all(taken.map(writeConversation));
    if (taken.length > 0)
      open(taken[0]);
  },
  all: () => conversations.filter(one => one.nodes.length > 1),
  redraw,
});
const settings = new SettingsPanel(changed => {
  writeWish('settings', changed);
  keep(current);
});
const ranks = new RanksView(byId('ranks'));
const feed = new LiveFeed({
  wantsTopology: () => openPanel() === 'ranks',
  came: state => {
    ranks.show(state);
    showState(state);
  },
  needsKey,
});
const prompt = byId('prompt');

// The buttons of index.html get their drawings.
for (const holder of document.querySelectorAll('[data-icon]'))
  holder.prepend(icon(holder.dataset.icon));
wireDialogs();
const layout = wireLayout({ create, stop, panelChanged: () => feed.poke() });

byId('composer').addEventListener('submit', event => {
  event.preventDefault();
  if (runningIn(current))
    stop();
  else
    send();
});
prompt.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing)
    return;
  event.preventDefault();
  if (!runningIn(current))
    send();
});
prompt.addEventListener('input', fitPrompt);
for (const example of document.querySelectorAll('#welcome button'))
  example.addEventListener('click', () => {
    prompt.value = example.textContent;
    send();
  });

conversations = await readConversations();
open(conversations.find(one => one.id === readWish('current', '')) ?? conversations[0] ?? startConversation());
document.body.dataset.ready = 'true';
if (matchMedia('(min-width: 900px)').matches)
  prompt.focus();
await readInfo();

function startConversation() {
  const fresh = createConversation(readWish('settings', { system: '' }));
  conversations.unshift(fresh);
  return fresh;
}

function create() {
  const empty = conversations.find(one => one.nodes.length === 1);
  open(empty ?? startConversation());
  layout.closeList();
  prompt.focus();
}

function open(conversation) {
  current = conversation;
  writeWish('current', current.id);
  settings.show(current.settings);
  messages.follows = true;
  redraw();
}

function redraw() {
  sidebar.show(conversations, current);
  messages.show(current, runningIn(current));
  showRunning();
}

function send() {
  const text = prompt.value.trim();
  if (!text)
    return;
  prompt.value = '';
  fitPrompt();
  messages.follows = true;
  ask(addMessage(current, lastShown(current).id, 'user', text));
}

function edit(node, text) {
  const other = addMessage(current, node.parent, node.role, text);
  if (node.role === 'user')
    ask(other);
  else {
    keep(current);
    redraw();
    prompt.focus();
  }
}

/** Has a message answered. */
async function ask(parent) {
  const conversation = current;
  if (runningIn(conversation))
    return;
  byId('notice').hidden = true;
  dropFailed(conversation, parent);
  conversations = [conversation, ...conversations.filter(one => one !== conversation)];
  await answer(conversation, parent, {
    begun: () => {
      keep(conversation);
      redraw();
      announce('Answering.');
    },
    grew: node => conversation === current && messages.grew(node),
    ended: async (node, fault) => {
      keep(conversation);
      if (conversation === current)
        redraw();
      announce(fault ? fault.message : node.finish === 'stopped' ? 'Stopped.' : `Answer complete: ${node.content.slice(0, 2000)}`);
      if (fault?.status === 401 && await needsKey(fault.message))
        ask(parent);
    },
  });
}

// An answer of which nothing came is no version: the next try takes its place.
function dropFailed(conversation, parent) {
  const node = conversation.nodes[parent.chosen];
  if (!node?.fault || node.content || node.reasoning || node.id !== conversation.nodes.length - 1)
    return;
  conversation.nodes.pop();
  parent.children.pop();
  parent.chosen = parent.children.at(-1) ?? -1;
}

function stop() {
  if (runningIn(current))
    stopAnswer(current);
}

async function remove(conversation) {
  stopAnswer(conversation);
  conversations = conversations.filter(one => one !== conversation);
  await deleteConversation(conversation.id);
  open(conversation === current ? conversations[0] ?? startConversation() : current);
  byId('new-conversation').focus();
}

function keep(conversation) {
  if (conversations.includes(conversation))
    writeConversation(conversation).catch(() => {
      byId('notice').textContent = 'This browser has no room to keep the conversation.';
      byId('notice').hidden = false;
    });
}

function showRunning() {
  const isRunning = Boolean(runningIn(current));
  const button = byId('send');
  button.replaceChildren(icon(isRunning ? 'stop' : 'send'));
  button.setAttribute('aria-label', isRunning ? 'Stop the answer' : 'Send');
  button.title = isRunning ? 'Stop (Esc)' : 'Send (Enter)';
  button.classList.toggle('is-stop', isRunning);
}

function fitPrompt() {
  prompt.style.height = 'auto';
  prompt.style.height = `${Math.min(prompt.scrollHeight, innerHeight * 0.4)}px`;
}

function showState(state) {
  byId('state').dataset.state = state.state;
  byId('state-text').textContent = { ready: 'ready', silent: 'no answer', key: 'needs a key' }[state.state] ?? state.state;
}

async function readInfo() {
  try {
    const info = await getJson('info');
    byId('served').textContent = info.model;
    byId('served').title = `${info.model}, TpServe ${info.version}, context of ${info.max_model_len} tokens`;
    settings.showDefaults(info);
    byId('no-chat').hidden = info.chat;
    feed.start(info);
  } catch (fault) {
    if (fault.status === 401 && await needsKey(fault.message)) {
      await readInfo();
      return;
    }
    showState({ state: fault.status === 401 ? 'key' : 'silent' });
    setTimeout(readInfo, 3000);
  }
}

// A key that is not given is not asked for again at once: the page lies open without one.
async function needsKey(reason) {
  if (refusedAt > 0 && performance.now() - refusedAt < 30_000)
    return false;
  const isGiven = await askKey(reason);
  refusedAt = isGiven ? 0 : performance.now();
  return isGiven;
}
