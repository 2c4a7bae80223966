/** The mutated files, part 1 of 4. */
import { fuzzPart } from './fuzz.js';

fuzzPart(0);
