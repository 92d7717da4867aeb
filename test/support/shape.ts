/**
 * The notation in which `--help` tells what `--json` answers: `{"version":1,"queues":[{"name","retry":{…}}],"next"?}`.
 *
 *     "name"          a key, whatever its value
 *     "name"?         one that may be absent
 *     "name":{…}      an object of any keys; `[…]` a list of anything, `[ids]` the same with a word about it
 *     {"a","b",…}     there may be more keys
 */
export type Shape =
  | { readonly kind: 'any' }
  | { readonly kind: 'list'; readonly of: Shape }
  | {
      readonly kind: 'object'
      readonly keys: ReadonlyMap<string, { readonly shape: Shape; readonly optional: boolean }>
      readonly open: boolean
    }

const ANY: Shape = { kind: 'any' }

/** The shape that stands at the beginning of a text; what follows it are words. */
export function parseShape(text: string): Shape {
  return new Reader(text).value()
}

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  value(): Shape {
    if (this.#takes('{')) return this.#object()
    if (this.#takes('[')) return this.#list()
    this.#skip(/^("[^"]*"|[\w…]+)/, 'a value')
    return ANY
  }

  #object(): Shape {
    const keys = new Map<string, { shape: Shape; optional: boolean }>()
    let open = false
    while (!this.#takes('}')) {
      if (this.#takes('…')) open = true
      else {
        const name = this.#skip(/^"[^"]*"/, 'a key').slice(1, -1)
        const optional = this.#takes('?')
        keys.set(name, { optional, shape: this.#takes(':') ? this.value() : ANY })
      }
      this.#takes(',')
    }
    return { kind: 'object', keys, open }
  }

  #list(): Shape {
    if (this.#takes(']')) return { kind: 'list', of: ANY }
    const of = this.value()
    this.#skip(/^\]/, 'the end of a list')
    return { kind: 'list', of }
  }

  #takes(sign: string): boolean {
    this.#at += /^\s*/.exec(this.#text.slice(this.#at))![0].length
    if (!this.#text.startsWith(sign, this.#at)) return false
    this.#at += sign.length
    return true
  }

  #skip(pattern: RegExp, what: string): string {
    this.#takes('')
    const found = pattern.exec(this.#text.slice(this.#at))?.[0]
    if (found === undefined) throw new Error(`${what} is expected at "${this.#text.slice(this.#at, this.#at + 40)}"`)
    this.#at += found.length
    return found
  }
}

/** Where an answer leaves its shape, path by path; empty when it does not. */
export function deviations(shape: Shape, answer: unknown, path = '$'): string[] {
  if (shape.kind === 'any' || answer === null) return []
  if (shape.kind === 'list') {
    if (!Array.isArray(answer)) return [`${path} is no list`]
    return answer.flatMap((each, index) => deviations(shape.of, each, `${path}[${index}]`))
  }
  if (typeof answer !== 'object' || Array.isArray(answer)) return [`${path} is no object`]
  const given = answer as Record<string, unknown>
  const missing = [...shape.keys].filter(([name, { optional }]) => !optional && !(name in given))
  const strange = shape.open ? [] : Object.keys(given).filter((name) => !shape.keys.has(name))
  return [
    ...missing.map(([name]) => `${path}.${name} is missing`),
    ...strange.map((name) => `${path}.${name} is not told of`),
    ...[...shape.keys].flatMap(([name, { shape: inner }]) =>
      given[name] === undefined ? [] : deviations(inner, given[name], `${path}.${name}`),
    ),
  ]
}
