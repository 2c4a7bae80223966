import { memoryHarness } from './memory-harness.js';
import { storeContract } from './store-contract.js';

storeContract('in memory', memoryHarness);
