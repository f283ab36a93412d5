export async function testCommand(_paths: string[]): Promise<void> {}
