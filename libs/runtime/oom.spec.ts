import { oomCounterOf, oomKillsOf } from './oom.js';

const V1 = '30 23 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory';
const V2 = '34 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw';

test.each([
  ['version 1', V1, '/sys/fs/cgroup/memory/weft/n/id/memory.oom_control'],
  ['both', `${V2}\n${V1}`, '/sys/fs/cgroup/memory/weft/n/id/memory.oom_control'],
  ['version 2', '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw', '/sys/fs/cgroup/weft/n/id/memory.events'],
  ['none', '', undefined],
])('where kills are counted with cgroups of %s', (_, mountinfo, path) => {
  expect(oomCounterOf(mountinfo, '/weft/n/id')).toBe(path);
});

test('a cgroup that is gone counts nothing', async () => {
  expect(await oomKillsOf(`/weft/none-${process.pid}/x`)).toBe(0);
});
