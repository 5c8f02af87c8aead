// Answers under way, one for each conversation at most: asks the server, fills the node as pieces come, and tells when it ends.
import { ApiError, streamChat } from './api.js';
import { addMessage, messagesUpTo } from './conversation.js';

const samplingNames = ['temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'frequency_penalty', 'repetition_penalty', 'seed', 'max_tokens'];

const running = new Map();

/** The answer under way in a conversation: its node and how to stop it; undefined where there is none. */
export const runningIn = conversation => running.get(conversation.id);

/** What is sent for an answer under a message. */
export function requestBody(conversation, parent) {
  const body = { messages: messagesUpTo(conversation, parent) };
  for (const name of samplingNames)
    if (Number.isFinite(conversation.settings[name]))
      body[name] = conversation.settings[name];
  if (conversation.settings.logprobs)
    Object.assign(body, { logprobs: true, top_logprobs: 5 });
  return body;
}

/** Ends the answer under way; what came of it stays. */
export function stopAnswer(conversation) {
  running.get(conversation.id)?.abort.abort();
}

/**
 * Adds an answer under a message and fills it until it ends, by itself, by stopAnswer or by a fault.
 * @param on  begun(node), grew(node), ended(node, fault); fault is an ApiError or null.
 */
export async function answer(conversation, parent, on) {
  if (running.has(conversation.id))
    return;
  const body = requestBody(conversation, parent);
  const node = addMessage(conversation, parent.id, 'assistant', '');
  const abort = new AbortController();
  Object.assign(node, { reasoning: '', tokens: [], finish: '' });
  running.set(conversation.id, { node, abort });
  on.begun(node);
  const begin = performance.now();
  let first = 0;
  let fault = null;
  try {
    const resuming = isLost => {
      node.resuming = isLost;
      on.grew(node);
    };
    for await (const piece of streamChat(body, abort.signal, resuming)) {
      node.model = piece.model;
      if ((piece.content || piece.reasoning) && !first) {
        first = performance.now();
        node.firstSeconds = (first - begin) / 1000;
      }
      if (piece.content && node.reasoning && !node.content)
        node.thoughtSeconds = (performance.now() - begin) / 1000;
      node.reasoning += piece.reasoning;
      node.content += piece.content;
      node.tokens.push(...piece.tokens);
      node.finish = piece.finish ?? node.finish;
      node.usage = piece.usage ?? node.usage;
      on.grew(node);
    }
  } catch (caught) {
    if (caught.name === 'AbortError' || abort.signal.aborted)
      node.finish = 'stopped';
    else {
      fault = caught instanceof ApiError ? caught : new ApiError(0, 'The answer could not be read.');
      node.fault = fault.message;
    }
  }
  delete node.resuming;
  if (first)
    node.seconds = (performance.now() - first) / 1000;
  conversation.updated = Date.now();
  running.delete(conversation.id);
  on.ended(node, fault);
}
