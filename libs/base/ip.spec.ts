import {
  addressToNumber,
  canonicalAddress,
  canonicalSubnet,
  compareAddresses,
  isEdge,
  parseSubnet,
  subnetHas,
  subnetsOverlap,
} from './ip.js';

describe('addresses of either family', () => {
  it('have one spelling', () => {
    expect(canonicalAddress('FD00:0:0::000A')).toBe('fd00::a');
    expect(canonicalSubnet('FD00:1::/64')).toBe('fd00:1::/64');
    expect(canonicalSubnet('10.1.0.0/24')).toBe('10.1.0.0/24');
    expect(() => canonicalSubnet('fd00::1/64')).toThrow(/beyond its prefix/);
  });

  it('are inside subnets of their own family only', () => {
    const [four, six] = [parseSubnet('10.1.0.0/24'), parseSubnet('fd00::/64')];
    expect([subnetHas(four, '10.1.0.255'), subnetHas(four, '10.1.1.0'), subnetHas(four, 'fd00::1')]).toEqual([true, false, false]);
    expect([subnetHas(six, 'fd00::ffff'), subnetHas(six, 'fd00:0:0:1::')]).toEqual([true, false]);
    expect(subnetsOverlap(four, parseSubnet('10.0.0.0/8'))).toBe(true);
    expect(subnetsOverlap(parseSubnet('::/0'), parseSubnet('0.0.0.0/0'))).toBe(false);
  });

  it('know which of a subnet no host can have', () => {
    const four = parseSubnet('10.1.0.0/24');
    const six = parseSubnet('fd00::/120');
    expect(['10.1.0.0', '10.1.0.255', '10.1.0.1'].map((a) => isEdge(four, addressToNumber(a)))).toEqual([true, true, false]);
    expect(['fd00::', 'fd00::ff'].map((a) => isEdge(six, addressToNumber(a)))).toEqual([true, false]);
  });

  it('sort by number, IPv4 first', () => {
    expect(['fd00::2', '10.0.0.10', 'fd00::1', '10.0.0.9'].sort(compareAddresses)).toEqual(['10.0.0.9', '10.0.0.10', 'fd00::1', 'fd00::2']);
  });
});
