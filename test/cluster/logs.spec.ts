/** Logs of a container that prints 1 MB/s while the agent and the log keeper of its node are killed. */
import { eventually, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('lo');

/** 100 lines of 100 bytes, then 10 ms of sleep: about 1 MB/s. Each line: its number, the machine's uptime in seconds, filling. */
const CHATTER = `pad=$(printf '%080d' 0); n=0
while :; do
  read up rest < /proc/uptime
  i=0
  while [ $i -lt 100 ]; do echo "$n $up $pad"; n=$((n+1)); i=$((i+1)); done
  usleep 10000
done
`;

interface Line {
  n: number;
  at: number;
}

async function chatter(task: TaskLine): Promise<{ lines: Line[]; text: string }> {
  const text = await cluster.ctl('logs', '-p', 'chat', '--no-log-prefix', '--tail', '200000');
  const lines = [...text.matchAll(/^(\d+) (\d+\.\d+) 0{80}$/gm)].map((m) => ({ n: Number(m[1]), at: Number(m[2]) }));
  expect(task.state).toBe('running');
  return { lines, text };
}

beforeAll(async () => {
  await cluster.up(1);
  cluster.write('chat.sh', CHATTER);
  cluster.write(
    'chat.yaml',
    `name: chat\nservices:\n  say:\n    image: weft-demo\n    command: ["sh", "/chat.sh"]\n    stop_grace_period: 0s\n    volumes: ["${cluster.dir}/chat.sh:/chat.sh:ro"]\n`,
  );
  await cluster.ctl('up', '-f', 'chat.yaml');
}, 180_000);
afterAll(() => cluster.down(), 60_000);

it('stalls the container no longer than the restart takes, and marks the gap', async () => {
  const task = (await cluster.tasks('chat'))[0] as TaskLine;
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const killedAt = performance.now();
  cluster.kill('/agent/main.js');
  cluster.kill('/log-keeper/main.js');
  await cluster.repair();
  await eventually(20_000, () => expect(cluster.pids('/log-keeper/main.js').length).toBeGreaterThan(0));
  const restartSeconds = (performance.now() - killedAt) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 2_000));

  const { lines, text } = await chatter(task);
  expect(text).toMatch(/log keeper.*(restarted|missing)/i);
  const stall = Math.max(...lines.slice(1).map((line, i) => line.at - (lines[i] as Line).at));
  expect(stall).toBeLessThan(restartSeconds + 1);
  // It went on after the restart, with the same process: numbers only grow, and leave out at most what was being written.
  const jumps = lines.slice(1).map((line, i) => line.n - (lines[i] as Line).n);
  expect(Math.min(...jumps)).toBe(1);
  expect(jumps.filter((j) => j > 1).length).toBeLessThanOrEqual(1);
  expect((lines.at(-1) as Line).n).toBeGreaterThan(10_000);
}, 120_000);
