import { faultsOf as faults, serviceOf as parse } from './spec-kit.js';

describe('where tasks may run', () => {
  it('is taken over', () => {
    const service = parse(
      'platform: linux/arm64',
      'deploy:',
      '  mode: global',
      '  placement:',
      '    constraints: [node.labels.disk == ssd, "node.ip != 10.0.0.0/8"]',
      '    preferences: [{ spread: node.labels.zone }, { spread: node.labels.rack }]',
      '    max_replicas_per_node: 2',
      '  resources: { reservations: { cpus: "0.5", memory: 64m } }',
    );
    expect(service).toMatchObject({
      mode: 'global',
      container: { platform: 'linux/arm64' },
      placement: {
        constraints: ['node.labels.disk == ssd', 'node.ip != 10.0.0.0/8'],
        spread: ['node.labels.zone', 'node.labels.rack'],
        maxReplicasPerNode: 2,
      },
      reservations: { nanoCpus: 500_000_000, memoryBytes: 67_108_864 },
    });
  });

  it('what says nothing leaves the stack as it is', () => {
    expect(parse('deploy: { mode: replicated, placement: { constraints: [], max_replicas_per_node: 0 } }')).toEqual(parse());
  });

  it.each([
    ['deploy: { placement: { constraints: [node.labels.disk] } }', /^5:\d+: .*constraints\[0\]: .*expected ATTRIBUTE == VALUE/],
    ['deploy: { placement: { constraints: [node.size == 4] } }', /no attribute node.size/],
    ['deploy: { placement: { preferences: [{ spread: zone }] } }', /no attribute "zone"/],
    ['deploy: { placement: { max_replicas_per_node: -1 } }', /max_replicas_per_node/],
    ['deploy: { mode: global, replicas: 3 }', /whatever the replicas/],
    ['deploy: { mode: everywhere }', /mode/],
    ['platform: arm64', /expected OS\/ARCH/],
    ['deploy: { resources: { reservations: { memory: much } } }', /a size like 64m/],
    ['deploy: { resources: { reservations: { devices: [{ capabilities: [gpu] }] } } }', /devices/],
  ])('%s is refused', (text, fault) => expect(faults(text).join('\n')).toMatch(fault));
});
