/** Health over HTTP, for supervisors and load balancers: `/healthz` (the process lives) and `/readyz` (it can do its work). */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, WeftError } from '#base/errors.js';

export interface Check {
  ok: boolean;
  detail: string;
}

export interface HealthOptions {
  address: string;
  /** 0 picks a free one. */
  port: number;
  /** Name → what it found. A check that throws counts as failed. */
  checks: Record<string, () => Promise<Check> | Check>;
}

/** How long the checks may take together, in milliseconds. */
const CHECK_TIMEOUT_MS = 3_000;

async function runCheck(check: () => Promise<Check> | Check): Promise<Check> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Check>((resolve) => {
    timer = setTimeout(() => resolve({ ok: false, detail: 'no answer in time' }), CHECK_TIMEOUT_MS);
  });
  try {
    return await Promise.race([Promise.resolve().then(check), late]);
  } catch (error) {
    return { ok: false, detail: messageOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body) + '\n');
}

async function ready(options: HealthOptions, response: ServerResponse): Promise<void> {
  const results = await Promise.all(Object.entries(options.checks).map(async ([name, check]) => [name, await runCheck(check)] as const));
  const ok = results.every(([, check]) => check.ok);
  answer(response, ok ? 200 : 503, { ok, checks: Object.fromEntries(results) });
}

/** @throws UNAVAILABLE when the address cannot be bound */
export async function startHealth(options: HealthOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const server: Server = createServer((request, response) => {
    if (request.url === '/healthz') answer(response, 200, { ok: true });
    else if (request.url === '/readyz') void ready(options, response);
    else answer(response, 404, { ok: false });
  });
  server.listen(options.port, options.address);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new WeftError('UNAVAILABLE', {
      what: `cannot serve health on ${options.address}:${options.port}`,
      why: messageOf(error),
      hint: 'Choose another port with --health-port.',
    });
  }
  server.on('error', () => undefined);
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
