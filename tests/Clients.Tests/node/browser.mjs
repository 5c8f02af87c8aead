// gRPC-Web from a page of Debian's chromium: node browser.mjs HTTP_URL. Prints one JSON object.
import { readFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const base = process.argv[2].replace(/\/$/, '');
const proto = await readFile(new URL('../../../src/Protos/inference.proto', import.meta.url), 'utf8');
const bundle = await build({ entryPoints: ['grpc-web-calls.mjs'], bundle: true, write: false, format: 'iife', globalName: 'calls', logLevel: 'error' });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  await page.goto(`${base}/version`); // a page of the server's own origin
  await page.addScriptTag({ content: bundle.outputFiles[0].text });
  console.log(JSON.stringify(await page.evaluate(([url, text]) => calls.chatTwice(url, text), [base, proto])));
} finally {
  await browser.close();
}
