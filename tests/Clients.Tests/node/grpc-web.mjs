// gRPC-Web by the same client under node, over what stands in for the browser's XMLHttpRequest: node grpc-web.mjs HTTP_URL. Prints one JSON object.
import { readFile } from 'node:fs/promises';

/** As much of XMLHttpRequest as the client uses: one request by fetch, its text growing as it comes. */
globalThis.XMLHttpRequest = class {
  readyState = 0; status = 0; statusText = ''; responseText = ''; response = ''; responseType = '';
  #headers = {}; #abort = new AbortController(); #answer; #method; #url;
  open(method, url) { this.#method = method; this.#url = url; this.#ready(1); }
  setRequestHeader(name, value) { this.#headers[name] = value; }
  getResponseHeader(name) { return this.#answer?.headers.get(name) ?? null; }
  getAllResponseHeaders() { return [...this.#answer.headers].map(([name, value]) => `${name}: ${value}\r\n`).join(''); }
  abort() { this.#abort.abort(); }
  async send(body) {
    try {
      this.#answer = await fetch(this.#url, { method: this.#method, headers: this.#headers, body, signal: this.#abort.signal });
      this.status = this.#answer.status;
      this.#ready(2);
      const text = new TextDecoder();
      for await (const bytes of this.#answer.body) {
        this.responseText += text.decode(bytes, { stream: true });
        this.response = this.responseText;
        this.#ready(3);
      }
    } catch {
      this.status = 0;
    }
    this.#ready(4);
  }
  #ready(state) { this.readyState = state; this.onreadystatechange?.(); }
};

const { chatTwice } = await import('./grpc-web-calls.mjs');
const proto = await readFile(new URL('../../../src/Protos/inference.proto', import.meta.url), 'utf8');
console.log(JSON.stringify(await chatTwice(process.argv[2].replace(/\/$/, ''), proto)));
