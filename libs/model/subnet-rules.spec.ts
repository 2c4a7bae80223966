import { overlapAmong, subnetFaults } from './subnet-rules.js';

const messages = (wish: Parameters<typeof subnetFaults>[0]) => subnetFaults(wish).map((f) => `${f.part}: ${f.message}`);

describe('the rules of a declared subnet', () => {
  it('hold for sound ones', () => {
    expect(messages({ subnet: '10.1.0.0/24', gateway: '10.1.0.254', ipRange: '10.1.0.128/25', auxAddresses: { a: '10.1.0.9' } })).toEqual(
      [],
    );
    expect(messages({ subnet: 'fd00::/64', gateway: 'fd00::1', ipRange: 'fd00::1:0/112', auxAddresses: { a: 'fd00::9' } })).toEqual([]);
  });

  it.each([
    [{ subnet: '10.1.0.0/30' }, /\/29 or larger/],
    [{ subnet: '8.0.0.0/7' }, /\/8 or smaller/],
    [{ subnet: '127.1.0.0/16' }, /loopback/],
    [{ subnet: 'fe80::/64' }, /link-local/],
    [{ subnet: 'fd00::/126' }, /\/125 or larger/],
    [{ subnet: '10.1.0.0/24', gateway: '10.1.1.1' }, /gateway 10.1.1.1 is not in/],
    [{ subnet: '10.1.0.0/24', gateway: '10.1.0.255' }, /broadcast/],
    [{ subnet: '10.1.0.0/24', gateway: 'fd00::1' }, /not in the subnet/],
    [{ subnet: '10.1.0.0/24', ipRange: '10.1.0.0/23' }, /not inside/],
    [{ subnet: '10.1.0.0/24', auxAddresses: { nas: '10.2.0.1' } }, /not in the subnet/],
    [{ subnet: '10.1.0.0/24', auxAddresses: { nas: '10.1.0.7', fax: '10.1.0.7' } }, /already that of nas/],
    [{ subnet: '10.1.0.0/24', gateway: '10.1.0.7', auxAddresses: { nas: '10.1.0.7' } }, /already that of the gateway/],
  ])('refuse %j', (wish, message) => {
    expect(messages(wish).join()).toMatch(message);
  });

  it('finds two subnets of one network that overlap', () => {
    expect(overlapAmong([{ subnet: '10.1.0.0/24' }, { subnet: 'fd00::/64' }, { subnet: '10.1.0.128/25' }])).toEqual([
      '10.1.0.0/24',
      '10.1.0.128/25',
    ]);
    expect(overlapAmong([{ subnet: '10.1.0.0/24' }, { subnet: '10.2.0.0/24' }])).toBeUndefined();
  });
});
