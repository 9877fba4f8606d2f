# What curl asks of each provider: whole, streamed, compressed, with a tool, refused, and several at once. The arguments go to each curl.
# Standard output has the answers with their heads; standard error the other end of each connection, and whose certificate it had.
set -eu

ask() {
    echo "== $1" && shift
    curl --silent --show-error --verbose --no-buffer --include --write-out '\n%{stderr}\npeer %{remote_ip} %{remote_port}\n' "$@"
}

openai() {
    name=$1 path=$2 json=$3 && shift 3
    ask "$name" --header "authorization: Bearer sk-not-a-real-key" --json "$json" "https://api.openai.com/v1/$path" "$@"
}

anthropic() {
    name=$1 json=$2 && shift 2
    ask "$name" --header "x-api-key: sk-ant-not-a-real-key" --header "anthropic-version: 2023-06-01" \
        --json "$json" https://api.anthropic.com/v1/messages "$@"
}

gemini() {
    name=$1 method=$2 json=$3 && shift 3
    ask "$name" --header "x-goog-api-key: not-a-real-key" --json "$json" \
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:$method" "$@"
}

user='{"role":"user","content":"Say “naïve 漢字 🚦”, please."}'
schema='{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}'
streamed='"stream":true,"stream_options":{"include_usage":true}'

tools='"tools":[{"type":"function","function":{"name":"weather","parameters":'$schema'}}]'
called='{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]}'
result='{"role":"tool","tool_call_id":"call_1","content":"Rain"}'
openai "chat" chat/completions '{"model":"gpt-4o-mini","messages":['"$user"']}' "$@"
openai "chat, streamed" chat/completions '{"model":"gpt-4o-mini",'$streamed',"messages":['"$user"']}' "$@"
openai "chat with a tool" chat/completions '{"model":"gpt-4o-mini",'"$tools"',"messages":['"$user"']}' "$@"
openai "chat with a tool's result, streamed" chat/completions \
    '{"model":"gpt-4o-mini",'$streamed,"$tools"',"messages":['"$user,$called,$result"']}' "$@"
openai "response, compressed" responses '{"model":"gpt-4o-mini","input":"Say it again."}' --compressed "$@"
# Left as it is sent, so that the very bytes are compared.
for coding in gzip br zstd deflate; do
    openai "response, streamed in $coding" responses '{"model":"gpt-4o-mini","stream":true,"input":"Say it again."}' \
        --header "accept-encoding: $coding" "$@"
done
openai "refused" chat/completions '{"model":"gpt-4o-mini+503+retry-after=3","messages":['"$user"']}' "$@"

tools='"tools":[{"name":"weather","input_schema":'$schema'}]'
called='{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}]}'
result='{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"Rain"}]}'
head='"model":"claude-sonnet-4-5","max_tokens":1000'
anthropic "message" '{'$head',"messages":['"$user"']}' "$@"
anthropic "message with a tool, streamed" '{'$head',"stream":true,'"$tools"',"messages":['"$user"']}' "$@"
anthropic "message with a tool's result" '{'$head,"$tools"',"messages":['"$user,$called,$result"']}' "$@"

tools='"tools":[{"functionDeclarations":[{"name":"weather","parameters":'$schema'}]}]'
user='{"role":"user","parts":[{"text":"Say “naïve 漢字 🚦”, please."}]}'
called='{"role":"model","parts":[{"functionCall":{"name":"weather","args":{}}}]}'
result='{"role":"user","parts":[{"functionResponse":{"name":"weather","response":{"result":"Rain"}}}]}'
gemini "content" generateContent '{"contents":['"$user"']}' "$@"
gemini "content, streamed" 'streamGenerateContent?alt=sse' '{"contents":['"$user"']}' "$@"
gemini "content, streamed as one array" streamGenerateContent '{"contents":['"$user"'],'"$tools"'}' "$@"
gemini "content with a function's result" generateContent '{"contents":['"$user,$called,$result"'],'"$tools"'}' "$@"

echo "== eight at once"
curl --silent --show-error --parallel --header "authorization: Bearer sk-not-a-real-key" --output "answer-#1" "$@" \
    "https://api.openai.com/v1/models/number-[1-8]"
cat answer-*
