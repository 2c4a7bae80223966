/** One controller process with its own etcd, as it is deployed, on loopback ports that were free; and what the two cost. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '#rpc/client.js';
import { ApiClient } from '#rpc/gen/weft/v1/api.js';
import { loadIdentity } from '#trust/identity.js';
import { daemon, sh, until } from './lab.mjs';

const MAIN = join(process.cwd(), 'dist/apps/controller/main.js');
/** As deploy/systemd starts it. */
const NODE_FLAGS = ['--max-semi-space-size=4', '--v8-pool-size=1'];
const TICKS_A_SECOND = Number(sh('getconf', ['CLK_TCK']));

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve) =>
          createServer().listen(0, '127.0.0.1', function () {
            resolve(this);
          }),
        ),
    ),
  );
  const ports = servers.map((s) => s.address().port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

/** User and system time of a process so far, in seconds (proc(5), fields 14 and 15). */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

const pssMib = (pid) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024;

/** @param nodeArgs more for Node itself, as `--cpu-prof` */
export async function startController(nodeArgs = []) {
  const dir = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  const [port, joinPort, health, client, peer] = await freePorts(5);
  const address = '127.0.0.1';
  const listen = ['--port', port, '--join-port', joinPort, '--health-port', health, '--etcd-client-port', client, '--etcd-peer-port', peer];
  const args = [...NODE_FLAGS, ...nodeArgs, MAIN, '--data-dir', dir, '--advertise', address, '--name', 'c1', ...listen.map(String)];
  const child = daemon(process.execPath, args, join(dir, 'log'));
  const etcdPid = () => JSON.parse(readFileSync(join(dir, 'etcd.pid'), 'utf8')).pid;
  const stop = async () => {
    await child.stop();
    try {
      process.kill(etcdPid(), 'SIGKILL');
    } catch {
      // It was not there yet, or has gone.
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  };
  try {
    await until(30_000, 50, async () => (await (await fetch(`http://127.0.0.1:${health}/readyz`)).json()).ok);
  } catch (error) {
    await stop();
    throw error;
  }
  const admin = await loadIdentity(join(dir, 'admin'));
  return {
    address,
    joinPort,
    target: `${address}:${port}`,
    pid: child.pid,
    log: () => readFileSync(join(dir, 'log'), 'utf8'),
    api: () => connect(ApiClient, `${address}:${port}`, admin, 'controller'),
    /** CPU seconds so far, and memory now. */
    cost: () => ({
      controllerCpu: cpuSeconds(child.pid),
      etcdCpu: cpuSeconds(etcdPid()),
      controllerMib: pssMib(child.pid),
      etcdMib: pssMib(etcdPid()),
    }),
    stop,
  };
}
