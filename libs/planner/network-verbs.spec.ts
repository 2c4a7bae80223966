import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { networkWishSchema } from '#model/network-wish.js';
import { checkLeases } from './check-leases.js';
import { planCleanup } from './plan-cleanup.js';
import { findNetwork, planNetworkCreation, planNetworkGrowth, planNetworkRemoval, type NetworkVerbPlan } from './network-verbs.js';
import { planRemoval } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

const wish = (parts: Record<string, unknown> = {}) => networkWishSchema.parse({ key: 'network', name: 'shared', ...parts });
const carryOut = (world: World, { compares, writes }: NetworkVerbPlan): void => expect(world.txn(compares, writes)).toBe(true);
const create = (world: World, parts: Record<string, unknown> = {}) =>
  carryOut(world, planNetworkCreation(world.model, wish(parts), world.newId, world.now));
const guest = stackOf('g', { x: { replicas: 1, networks: { h: {} } } }, { networks: { h: { key: 'h', name: 'shared', external: true } } });

describe('networks of their own', () => {
  it('are made once, stay without a stack, and are removed when nobody uses them', () => {
    const world = new World(['a']);
    create(world, { ipv6: true, attachable: true, options: { mtu: 1400 }, labels: { team: 'net' } });
    expect(findNetwork(world.model, 'shared')).toMatchObject({
      stack: '',
      attachable: true,
      options: { mtu: 1400 },
      labels: { team: 'net' },
    });
    expect(planCleanup(world.model, world.now)).toEqual([]);
    expect(() => create(world)).toThrow(/there is a network shared already: it was made by/);
    world.up(guest);
    world.settle();
    expect(() => planNetworkRemoval(world.model, 'shared')).toThrow(/stack g uses it/);
    const { compares, writes } = planRemoval(world.model, 'g', world.now);
    world.txn(compares, writes);
    expect(() => planNetworkRemoval(world.model, 'shared')).toThrow(/task g-x-1 is still on it/);
    world.settle();
    carryOut(world, planNetworkRemoval(world.model, findNetwork(world.model, 'shared').id));
    expect([world.model.networks.size, world.model.networkNames.size, world.model.leases.size, world.model.vips.size]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(() => findNetwork(world.model, 'shared')).toThrow(/there is no network "shared"/);
  });

  it('grow, and a file that does not know of it keeps what was added', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 1 }));
    carryOut(world, planNetworkGrowth(world.model, 's_default', ['10.200.0.0/24'], world.now));
    world.up(stackOf('s', { web: 2 }));
    expect(findNetwork(world.model, 's_default').moreSubnets).toEqual([{ subnet: '10.200.0.0/24', gateway: '10.200.0.1' }]);
    expect(() => planNetworkGrowth(world.model, 's_default', ['10.200.0.128/25'], world.now)).toThrow(/overlaps network s_default/);
    expect(() => planNetworkGrowth(world.model, 's_default', ['fd00::/64'], world.now)).toThrow(/another IPv6 subnet/);
    expect(() => planNetworkRemoval(world.model, 's_default')).toThrow(/stack s declares it/);
  });

  it('refuse what cannot be', () => {
    const world = new World(['a']);
    expect(() => create(world, { ipam: [{ subnet: '10.1.0.0/24', gateway: '10.2.0.1' }] })).toThrow(/gateway 10.2.0.1 is not in/);
    expect(() => create(world, { options: { mtu: 9000 } })).toThrow(/9000 is more than/);
  });
});

describe('the check of addresses', () => {
  const sound = () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: 3 }, { networks: { default: { key: 'default', name: 's_default', ipv6: true } } }));
    world.settle();
    return world;
  };
  const findings = (world: World) => checkLeases(world.model).findings.map((f) => `${f.address}: ${f.finding}`);

  it('finds nothing wrong with what Weft does', () => {
    expect(checkLeases(sound().model)).toEqual({ findings: [], addresses: 12, networks: 1, views: 2 });
  });

  it('says what is wrong, from whichever side', () => {
    const world = sound();
    const id = findNetwork(world.model, 's_default').id;
    const [one, two] = world.model.tasksOfService('s', 'web');
    if (!one || !two) throw new Error('no tasks');
    const address = one.endpoints[0]?.ipv4 ?? '';
    world.write({ put: keys.task(two.id), value: encode({ ...two, endpoints: one.endpoints }) });
    world.write({ put: keys.lease(id, '10.128.0.99'), value: encode({ kind: 'task', owner: one.id }) });
    expect(findings(world)).toEqual(
      expect.arrayContaining([
        `${address}: task ${two.name} and task ${one.name} both have it`,
        `${address}: task ${two.name} has it, and task ${one.name} has the lease`,
        `10.128.0.99: leased to task ${one.name}, which does not have it`,
        expect.stringMatching(/^10\.128\.0\.\d+: leased to task s-web-\d, which does not have it$/),
      ]),
    );
    world.write({ delete: keys.lease(id, address) });
    expect(findings(world)).toContain(`${address}: task ${one.name} has it without a lease`);
  });

  it('finds subnets that overlap, and records that cannot be read', () => {
    const world = sound();
    const network = findNetwork(world.model, 's_default');
    world.write({ put: keys.network('ffffffff'), value: encode({ ...network, id: 'ffffffff', name: 'twin', ipv6: undefined }) });
    world.write({ put: keys.lease(network.id, '10.128.0.50'), value: '{' });
    expect(findings(world)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/its subnet .* overlaps .*/),
        expect.stringMatching(/the record .*10.128.0.50 cannot be read/),
      ]),
    );
  });
});
