import { readStat, terminalName, userName } from './processes.js';
import { blockBytes, cgroupPlaces, networkBytes, usageOf, valueIn } from './usage.js';

const V1 = [
  '30 23 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory',
  '31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct',
  '32 23 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids',
  '33 23 0:29 /docker/ab /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio',
  '34 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
  '35 23 0:31 / /proc rw - proc proc rw',
].join('\n');

test('where the cgroups of a process are: hybrid, and version 2 alone', () => {
  const process = '12:memory:/weft/n/id\n11:cpu,cpuacct:/weft/n/id\n10:pids:/weft/n/id\n9:blkio:/docker/ab/weft/n/id\n0::/weft/n/id\n';
  expect(cgroupPlaces(V1, process)).toEqual({
    memory: '/sys/fs/cgroup/memory/weft/n/id',
    cpuacct: '/sys/fs/cgroup/cpu,cpuacct/weft/n/id',
    pids: '/sys/fs/cgroup/pids/weft/n/id',
    blkio: '/sys/fs/cgroup/blkio/weft/n/id',
    unified: '/sys/fs/cgroup/unified/weft/n/id',
  });
  expect(cgroupPlaces('30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw', '0::/a:b\n')).toEqual({ unified: '/sys/fs/cgroup/a:b' });
  expect(cgroupPlaces('', '')).toEqual({});
});

test('numbers in the files of the kernel', () => {
  expect(valueIn('usage_usec 1500\nuser_usec 3\n', 'usage_usec')).toBe(1500);
  expect(valueIn('', 'usage_usec')).toBe(0);
  const dev =
    'Inter-| Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0:  100 1 0 0 0 0 0 0  7 1 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n';
  expect(networkBytes(dev)).toEqual({ in: 101, out: 9 });
  expect(blockBytes('8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1 wbytes=2\n')).toEqual({ in: 11, out: 22 });
  expect(blockBytes('8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n')).toEqual({ in: 5, out: 6 });
});

test('a line of /proc/<pid>/stat, whatever the program is called', () => {
  const tail = 'S 7 8 9 34817 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 4200 0 0';
  expect(readStat(`42 (a) b (c) ${tail}`)).toEqual({ name: 'a) b (c', ppid: 7, terminal: 34817, cpuTicks: 200, startTicks: 4200 });
  expect(readStat('')).toBeUndefined();
  expect([terminalName(34817), terminalName(0), terminalName(1025)]).toEqual(['pts/1', '?', '?']);
  expect([userName('root:x:0:0\nweb:x:33:33\n', '33'), userName('', '33')]).toEqual(['web', '33']);
});

test('a process that is gone uses nothing, in whole numbers', async () => {
  const usage = await usageOf(2 ** 22 + 1);
  expect(Object.values(usage).every(Number.isInteger)).toBe(true);
});
