/**
 * A load generator: `node load.mjs URL CONCURRENCY` asks again and again, each time with a new connection, until stdin
 * ends; then it prints one line of JSON: how many were asked and what went wrong. Meanwhile, now and then, how many were asked.
 */
import { Agent, get } from 'node:http';
import { clearInterval, setInterval } from 'node:timers';

const [url = '', concurrency = '4'] = process.argv.slice(2);
const agent = new Agent({ keepAlive: false });
const failures = new Map();
let asked = 0;
let stopping = false;
const telling = setInterval(() => console.log(JSON.stringify({ asked })), 200);
process.stdin.on('end', () => (stopping = true)).resume();

const ask = () =>
  new Promise((resolve) => {
    const fail = (why) => {
      failures.set(why, (failures.get(why) ?? 0) + 1);
      resolve();
    };
    const request = get(url, { agent, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('error', (error) => fail(`response: ${error.message}`));
      response.on('end', () =>
        response.statusCode === 200 && text !== '' ? resolve() : fail(`status ${response.statusCode}, ${text.length} bytes`),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', (error) => fail(error.code ?? error.message));
  });

async function worker() {
  while (!stopping) {
    asked++;
    await ask();
  }
}

await Promise.all(Array.from({ length: Number(concurrency) }, worker));
clearInterval(telling);
console.log(JSON.stringify({ asked, failures: Object.fromEntries(failures) }));
