import { findingsOf, type FindingsInput } from './host-findings.js';

const quiet: FindingsInput & { kernel: string } = {
  mode: 'own+docker',
  underlay: 'eth0',
  features: ['wireguard'],
  forwards: true,
  kernel: '6.1.0-9',
};
const chain = (table: string, name: string, hook?: string, policy?: string) => ({ family: 'ip', table, name, hook, policy });
const codes = (...args: Parameters<typeof findingsOf>) => findingsOf(...args).map((f) => `${f.code} ${f.severity}`);
const none = new Map<string, string>();
const docker = [chain('filter', 'FORWARD', 'forward', 'drop'), chain('filter', 'DOCKER-USER')];

describe('what is found on a host', () => {
  it('is nothing on one that is as it should be', () => {
    const ours = [{ ...chain('weft', 'forwarding', 'forward', 'drop'), family: 'inet' }];
    expect(findingsOf(ours, new Map([['net.ipv4.ip_forward', '1']]), quiet)).toEqual([]);
  });

  const cases: [string, Parameters<typeof findingsOf>, string[]][] = [
    ['Docker, handled', [docker, none, quiet], ['docker-forward note']],
    ['Docker, where its chains are left alone', [docker, none, { ...quiet, mode: 'own' }], ['forward-drop broken']],
    ["somebody's drop", [[chain('mine', 'f', 'forward', 'drop')], none, quiet], ['forward-drop broken']],
    ['a closed door', [[chain('mine', 'i', 'input', 'drop')], none, quiet], ['input-drop risk']],
    ['firewalld', [[{ ...chain('firewalld', 'filter_FORWARD', 'forward', 'accept'), family: 'inet' }], none, quiet], ['firewalld risk']],
    ['ufw', [[chain('filter', 'ufw-before-forward')], none, quiet], ['ufw risk']],
    ['forwarding turned off', [[], new Map([['net.ipv4.ip_forward', '0']]), quiet], ['ip-forward broken']],
    ['nothing yet, before we turned forwarding on', [[], new Map([['net.ipv4.ip_forward', '0']]), { ...quiet, forwards: false }], []],
    ['a strict path filter', [[], new Map([['net.ipv4.conf.eth0.rp_filter', '1']]), quiet], ['rp-filter risk']],
    ['br_netfilter', [[], new Map([['net.bridge.bridge-nf-call-iptables', '1']]), quiet], ['bridge-netfilter note']],
    ['an old kernel', [[], none, { ...quiet, kernel: '5.10.0-28' }], ['old-kernel broken']],
    ['no encryption', [[], none, { ...quiet, features: [] }], ['no-encryption note']],
    ['no firewall wished', [[], none, { ...quiet, mode: 'none' }], ['firewall-none risk']],
  ];
  it.each(cases)('is %s', (_what, args, expected) => {
    expect(codes(...args)).toEqual(expected);
    for (const f of findingsOf(...args)) expect(f.what).not.toBe('');
  });
});
