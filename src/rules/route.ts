/** How an exchange compares a message with its bindings. */
export type ExchangeKind = 'direct' | 'fanout' | 'topic' | 'headers'

export const EXCHANGE_KINDS: readonly ExchangeKind[] = ['direct', 'fanout', 'topic', 'headers']

/** What a header may be compared with. */
export type HeaderValue = string | number | boolean

/** Admits a message of its exchange when everything that is not null matches. */
export interface Binding {
  readonly exchange: string
  readonly queue: string
  /** For a direct exchange the routing key itself, for a topic exchange a pattern; null: any. */
  readonly routingKey: string | null
  /** The routing key of a topic exchange as a regular expression for Postgres, see `topicRegex`. */
  readonly pattern: string | null
  /** The type of the message, which is the name of its contract; null: any. */
  readonly type: string | null
  /** Of a headers exchange: do all of `arguments` have to be equal, or one? */
  readonly match: 'all' | 'any' | null
  readonly arguments: Readonly<Record<string, HeaderValue>> | null
}

/** What of a message its exchange looks at. */
export interface Routable {
  readonly exchange: string
  readonly routingKey: string
  readonly type: string
  readonly headers?: Readonly<Record<string, unknown>> | undefined
}

/** What there is to route by. */
export interface Routes {
  readonly exchanges: readonly { readonly name: string; readonly kind: ExchangeKind }[]
  readonly queues: readonly { readonly name: string }[]
  readonly bindings: readonly Binding[]
}

/**
 * The queues a message goes to, each once, in the order of declaration. The reference for the statement that routes in Postgres.
 *
 * The default exchange, '', goes to the queue named by the routing key, and to those bound by type.
 */
export function route(message: Routable, { exchanges, queues, bindings }: Routes): string[] {
  const kind = exchanges.find(({ name }) => name === message.exchange)?.kind ?? 'direct'
  const bound = bindings.filter((binding) => binding.exchange === message.exchange && admits(binding, kind, message))
  const names = new Set(bound.map(({ queue }) => queue))
  if (message.exchange === '') names.add(message.routingKey)
  return queues.map(({ name }) => name).filter((name) => names.has(name))
}

/** Does this binding admit a message of its exchange? */
export function admits(binding: Binding, kind: ExchangeKind, message: Routable): boolean {
  if (binding.type !== null && binding.type !== message.type) return false
  return admitsKey(binding, kind, message.routingKey) && admitsHeaders(binding, message.headers ?? {})
}

function admitsKey({ routingKey }: Binding, kind: ExchangeKind, given: string): boolean {
  if (routingKey === null || kind === 'fanout' || kind === 'headers') return true
  return kind === 'topic' ? topicMatches(routingKey, given) : routingKey === given
}

function admitsHeaders({ match, arguments: wanted }: Binding, headers: Readonly<Record<string, unknown>>): boolean {
  if (wanted === null) return true
  const isEqual = ([name, value]: [string, HeaderValue]) => headers[name] === value
  return match === 'any' ? Object.entries(wanted).some(isEqual) : Object.entries(wanted).every(isEqual)
}

/**
 * Does a topic pattern match a routing key? Both are words with dots between; `*` is one word, `#` any number, none included.
 * The empty key has no words.
 */
export function topicMatches(pattern: string, routingKey: string): boolean {
  const wanted = wordsOf(pattern)
  const words = wordsOf(routingKey)
  let [at, word, hash, resume] = [0, 0, -1, 0]
  while (word < words.length) {
    if (wanted[at] === '#') {
      hash = at
      resume = word
      at += 1
    } else if (at < wanted.length && (wanted[at] === '*' || wanted[at] === words[word])) {
      at += 1
      word += 1
    } else if (hash >= 0) {
      // The last # takes one word more.
      resume += 1
      word = resume
      at = hash + 1
    } else {
      return false
    }
  }
  return wanted.slice(at).every((rest) => rest === '#')
}

/**
 * The regular expression that matches a routing key exactly when the pattern does, for `~` in Postgres; JavaScript reads it alike.
 *
 * Words carry the dot before them, so the first one of the key is a case of its own: `#` there may be nothing at all.
 */
export function topicRegex(pattern: string): string {
  const words = ordered(wordsOf(pattern))
  const [first, ...rest] = words
  if (first === undefined) return '^$'
  if (words.every((word) => word === '#')) return '^'
  const body = first === '#' ? afterLeadingHash(rest) : oneWord(first) + rest.map(dotted).join('')
  // A key of no words would pass for one empty word.
  const some = new RegExp(`^${body}$`).test('') ? '(?=.)' : ''
  return `^${some}${body}$`
}

/** What is wrong with a pattern, or undefined: `*` and `#` stand for whole words. */
export function patternProblem(pattern: string): string | undefined {
  const mixed = wordsOf(pattern).find((word) => word.length > 1 && /[*#]/.test(word))
  return mixed === undefined ? undefined : `has "${mixed}", where * and # stand for whole words`
}

function wordsOf(key: string): string[] {
  return key === '' ? [] : key.split('.')
}

/** `#.*` means what `*.#` does: in a run of wildcards the single words come first, and one # is enough. */
function ordered(words: readonly string[]): string[] {
  const result: string[] = []
  let hash = false
  for (const word of words) {
    if (word === '#') {
      hash = true
      continue
    }
    if (hash && word !== '*') {
      result.push('#')
      hash = false
    }
    result.push(word)
  }
  return hash ? [...result, '#'] : result
}

/** After a leading # comes a literal word, or the pattern would begin with *. */
function afterLeadingHash([literal = '', ...rest]: readonly string[]): string {
  return `([^.]*\\.)*${escaped(literal)}${rest.map(dotted).join('')}`
}

function dotted(word: string): string {
  return word === '#' ? '(\\.[^.]*)*' : `\\.${oneWord(word)}`
}

function oneWord(word: string): string {
  return word === '*' ? '[^.]*' : escaped(word)
}

function escaped(word: string): string {
  return word.replaceAll(/[^\p{L}\p{N}_\s]/gu, (character) =>
    character.charCodeAt(0) < 128 ? `\\${character}` : character,
  )
}
