/** The mutated files, part 2 of 4. */
import { fuzzPart } from './fuzz.js';

fuzzPart(1);
