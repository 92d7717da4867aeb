import { Option } from '@commander-js/extra-typings'
import { command, told, wholeBetween } from './command.ts'

const MOST = 2 ** 31 - 1

export function demoCommand() {
  return command('demo')
    .description(
      'A shop under chaos: orders and messages in one transaction each, workers and relay killed meanwhile, then an audit. Exit code 0 only when nothing is lost, doubled, phantom or oversold.',
    )
    .option('--orders <count>', 'how many orders', wholeBetween(1, 10_000_000), 5_000)
    .option('--seed <number>', 'what the chance is made of', wholeBetween(0, MOST), 1)
    .option('--no-chaos', 'kill nobody')
    .option('--keep', 'leave the server running, and say where')
    .option('--json', 'the last line of the output is one JSON object')
    .addOption(
      new Option('--inject <fault>', 'do something wrong, to see that it is found').choices([
        'loss',
        'duplicate',
      ] as const),
    )
    .addHelpText(
      'after',
      told({
        example: 'posthaste demo --orders 20000 --seed 7',
        json: `{"version":1,"orders":{"committed","rolledBack","unknown"},"effects":{"billing","inventory","notifications"},
   "lost","duplicates","phantoms","oversold","kills":{"relay","worker","backend","withWorkInFlight"},
   "throughputPerSecond","latencyMs":{"p50","p95","p99"},"auditDifference","databaseUrl","intents"}`,
      }),
    )
    .action(async ({ orders, seed, chaos, keep = false, json = false, inject }) => {
      const { demo } = await import('../demo/demo.ts')
      process.exitCode = await demo({ orders, seed, chaos, keep, json, inject })
    })
}
