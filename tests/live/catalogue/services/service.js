// An HTTP service as many are: worker threads, compression in libuv's pool, files below /data.
'use strict';
const fs = require('fs');
const http = require('http');
const zlib = require('zlib');
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (!isMainThread) {
  let sum = 0;
  for (let n = 0; n < 1e6; n++) sum = (sum + n * 7) % 1000003;
  parentPort.postMessage(sum);
} else {
  const work = () => new Promise((resolve, reject) => {
    const worker = new Worker(__filename);
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const answers = {
    '/work': async () => `work ${new Set(await Promise.all([work(), work()])).size === 1}`,
    '/store': async (query) => {
      await fs.promises.writeFile('/data/new.txt', query);
      await fs.promises.rename('/data/new.txt', '/data/kept.txt');
      return `kept ${await fs.promises.readFile('/data/kept.txt', 'utf8')}`;
    },
    '/zip': async () => new Promise((resolve, reject) => {
      const text = Buffer.alloc(1 << 20, 'x');
      zlib.gzip(text, (error, zipped) => error ? reject(error) : resolve(`zip ${zlib.gunzipSync(zipped).equals(text)}`));
    }),
  };
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const answer = answers[url.pathname];
    try {
      response.end(answer ? await answer(url.search.slice(1)) : 'nothing here');
    } catch (error) {
      response.end(`failed ${error}`);
    }
  });
  process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeAllConnections(); });
  server.listen(8080, '127.0.0.1', () => console.log('ready'));
}
