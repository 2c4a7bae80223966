import { etcdHarness } from './etcd-harness.js';
import { storeContract } from './store-contract.js';

storeContract('etcd', etcdHarness);
