// The server as the page sees it: a key where one is needed, JSON, and answers as they come. Addresses are relative, so a proxy may serve it all under a path.

const keyName = 'tpserve.key';

/** A call that the server refused, or that did not reach it (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The key that calls carry; empty = none. */
export function readKey() {
  try {
    return localStorage.getItem(keyName) ?? '';
  } catch {
    return '';
  }
}

/** Keeps a key in this browser, or forgets it. */
export function writeKey(key) {
  try {
    if (key)
      localStorage.setItem(keyName, key);
    else
      localStorage.removeItem(keyName);
  } catch {
    // A browser that keeps nothing is asked again next time.
  }
}

async function send(path, options = {}) {
  const headers = { ...options.headers };
  const key = readKey();
  if (key)
    headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: 'same-origin' });
  } catch (fault) {
    if (fault.name === 'AbortError')
      throw fault;
    throw new ApiError(0, 'The server does not answer.');
  }
  if (response.ok)
    return response;
  throw new ApiError(response.status, await faultOf(response));
}

async function faultOf(response) {
  const body = await response.text().catch(() => '');
  try {
    const { error } = JSON.parse(body);
    const message = error?.message ?? error;
    if (typeof message === 'string' && message)
      return message;
  } catch {
    // Not the server's own words: a proxy's page, say.
  }
  return `The server answered ${response.status}.`;
}

/** GETs JSON. */
export async function getJson(path, signal) {
  return (await send(path, { signal, cache: 'no-store' })).json();
}

const resumePauses = [250, 1000, 3000, 8000];

/**
 * Streams an answer: each item has what came new of content, reasoning and tokens, and at the end finish and usage.
 * A stream that breaks is taken up again after the last event that came, a few times and ever later; resuming(again) is told when it is lost and when it is back.
 */
export async function* streamChat(body, signal, resuming = () => {}) {
  const place = { last: '' };
  let response = await post(body, {}, signal);
  for (let failures = 0; ;) {
    let lost = 'The connection was lost in the middle of the answer.';
    try {
      for await (const data of events(response.body, place)) {
        if (data === '[DONE]')
          return;
        const chunk = JSON.parse(data);
        if (chunk.error)
          throw new ApiError(response.status, chunk.error.message ?? 'The answer ended with an error.');
        failures = 0;
        yield itemOf(chunk);
      }
    } catch (fault) {
      if (fault.name === 'AbortError' || fault instanceof ApiError)
        throw fault;
    }
    if (place.last)
      resuming(true);
    for (response = null; response === null;) {
      if (!place.last || failures === resumePauses.length)
        throw new ApiError(0, lost);
      await pause(resumePauses[failures++], signal);
      try {
        response = await post(null, { 'Last-Event-ID': place.last }, signal);
      } catch (fault) {
        if (fault.name === 'AbortError')
          throw fault;
        if (fault.status !== 0 && fault.status !== 502 && fault.status !== 503 && fault.status !== 504) { // it answers, and has the stream no more
          lost = `${lost} ${fault.message}`;
          failures = resumePauses.length;
        }
      }
    }
    resuming(false);
  }
}

function post(body, headers, signal) {
  return send('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream', ...headers },
    body: body && JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('Stopped.', 'AbortError'));
    }, { once: true });
  });
}

function itemOf(chunk) {
  const choice = chunk.choices?.[0];
  return {
    model: chunk.model,
    content: choice?.delta?.content ?? '',
    reasoning: choice?.delta?.reasoning_content ?? '',
    tokens: (choice?.logprobs?.content ?? []).map(token => ({
      text: token.token,
      logprob: token.logprob,
      top: (token.top_logprobs ?? []).map(other => ({ text: other.token, logprob: other.logprob })),
    })),
    finish: choice?.finish_reason ?? null,
    usage: chunk.usage ?? null,
  };
}

/** The data of server-sent events, as the standard cuts them; comments and names are passed over, and place.last is the id of the last one that came whole. */
export async function* events(stream, place = {}) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let rest = '';
  let data = [];
  let id = null;
  try {
    while (true) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value ?? new Uint8Array(), { stream: !done });
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:'))
          data.push(line.slice(line[5] === ' ' ? 6 : 5));
        else if (line.startsWith('id:'))
          id = line.slice(line[3] === ' ' ? 4 : 3);
        else if (line === '' && data.length > 0) {
          place.last = id ?? place.last;
          yield data.join('\n');
          data = [];
        }
      }
      if (done)
        return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
