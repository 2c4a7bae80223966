import { checksumErrorsIn, probe } from './node-service/check.js';

describe('checks of a node', () => {
  it('counts wrong checksums of UDP and TCP', () => {
    const text = [
      'Ip: Forwarding DefaultTTL',
      'Ip: 1 64',
      'Tcp: InSegs InCsumErrors',
      'Tcp: 900 3',
      'Udp: InDatagrams InCsumErrors MemErrors',
      'Udp: 77 4 0',
      'UdpLite: InDatagrams InCsumErrors',
      'UdpLite: 1 9',
    ].join('\n');
    expect(checksumErrorsIn(text)).toBe(7);
    expect(checksumErrorsIn('')).toBe(0);
  });

  it.each([
    ['an address that is none', { address: '10.1.0.1; reboot' }],
    ['a task that is none', { task: '../../etc' }],
    ['a source that is none', { source: '-f' }],
  ])('refuses %s', async (_, change) => {
    const request = { task: '', protocol: 'icmp', address: '10.1.0.1', port: 0, sizeBytes: 0, source: '', ...change };
    const run = () => Promise.reject(new Error('it was run'));
    await expect(probe({ run }, request)).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
});
