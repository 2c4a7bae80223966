import { DEFAULT_CAPABILITIES, capabilitiesOfMask, containerCapabilities, isCapability } from './capabilities.js';

test('masks as in /proc', () => {
  expect(capabilitiesOfMask('00000000a80425fb').sort()).toEqual([...DEFAULT_CAPABILITIES].sort());
  expect(capabilitiesOfMask('1')).toEqual(['CAP_CHOWN']);
  expect(capabilitiesOfMask('10000000000')).toEqual(['CAP_CHECKPOINT_RESTORE']);
});

const HOST = ['CAP_CHOWN', 'CAP_KILL', 'CAP_SYS_ADMIN'];
test.each<[string[], string[], string[]]>([
  [[], [], [...DEFAULT_CAPABILITIES]],
  [['net_admin'], [], [...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN']],
  [[], ['CAP_CHOWN'], DEFAULT_CAPABILITIES.filter((c) => c !== 'CAP_CHOWN')],
  [['CHOWN'], ['CHOWN'], [...DEFAULT_CAPABILITIES]],
  [[], ['ALL'], []],
  [['KILL', 'CAP_KILL'], ['all'], ['CAP_KILL']],
  [['ALL'], [], HOST],
  [['ALL'], ['kill'], ['CAP_CHOWN', 'CAP_SYS_ADMIN']],
])('add %j drop %j', (add, drop, expected) => {
  expect(containerCapabilities(add, drop, HOST).sort()).toEqual([...expected].sort());
});

test('names', () => {
  expect(['chown', 'CAP_BPF', 'all', 'SYS_ADMIN'].map(isCapability)).toEqual([true, true, true, true]);
  expect(['', 'CAP_', 'FLY', 'CAP_ALL', 'CAP_CAP_KILL'].map(isCapability)).toEqual([false, false, false, false, false]);
});
