// A client in Go, with its standard library alone: chat, messages and content; whole, streamed, with tools, refused, at once.
// Standard output has all that the provider answered; standard error the other end of each connection.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"sort"
	"strings"
	"sync"
)

type object = map[string]any

const (
	chat     = "https://api.openai.com/v1/chat/completions"
	messages = "https://api.anthropic.com/v1/messages"
	models   = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:"
)

var (
	keys = map[string]string{
		"api.openai.com":                    "authorization: Bearer sk-not-a-real-key",
		"api.anthropic.com":                 "x-api-key: sk-ant-not-a-real-key",
		"generativelanguage.googleapis.com": "x-goog-api-key: not-a-real-key",
	}
	schema = object{"type": "object", "properties": object{"city": object{"type": "string"}, "days": object{"type": "integer"}}}
	user   = object{"role": "user", "content": "Say “naïve 漢字 🚦”, please."}
	client = &http.Client{}
)

func main() {
	if os.Args[1] == "http1" {
		// An empty map is the documented way to keep to HTTP/1.1.
		client.Transport = &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	}
	openai()
	anthropic()
	gemini()
	fmt.Println("== eight at once")
	atOnce()
}

func openai() {
	tools := []object{{"type": "function", "function": object{"name": "weather", "parameters": schema}}}
	usage := object{"include_usage": true}
	ask("chat", chat, object{"model": "gpt-4o-mini", "messages": []any{user}})
	ask("chat, streamed", chat, object{"model": "gpt-4o-mini", "stream": true, "stream_options": usage, "messages": []any{user}})
	first := ask("chat with a tool", chat, object{"model": "gpt-4o-mini", "messages": []any{user}, "tools": tools})
	message := first["choices"].([]any)[0].(object)["message"].(object)
	conversation := []any{user, message}
	for _, call := range message["tool_calls"].([]any) {
		conversation = append(conversation, object{"role": "tool", "tool_call_id": call.(object)["id"], "content": "Rain"})
	}
	ask("chat with a tool's result, streamed", chat, object{
		"model": "gpt-4o-mini", "stream": true, "stream_options": usage, "messages": conversation, "tools": tools,
	})
	ask("refused", chat, object{"model": "gpt-4o-mini+500", "messages": []any{user}})
}

func anthropic() {
	request := object{"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": []any{user}}
	ask("message", messages, request)
	request["tools"] = []object{{"name": "weather", "input_schema": schema}}
	first := ask("message with a tool", messages, request)
	var results []any
	for _, block := range first["content"].([]any) {
		if block.(object)["type"] == "tool_use" {
			results = append(results, object{"type": "tool_result", "tool_use_id": block.(object)["id"], "content": "Rain"})
		}
	}
	request["messages"] = []any{user, object{"role": "assistant", "content": first["content"]}, object{"role": "user", "content": results}}
	request["stream"] = true
	ask("message with a tool's result, streamed", messages, request)
}

func gemini() {
	user := object{"role": "user", "parts": []any{object{"text": "Say “naïve 漢字 🚦”, please."}}}
	request := object{"contents": []any{user}, "tools": []any{object{"functionDeclarations": []any{object{"name": "weather", "parameters": schema}}}}}
	first := ask("content with a function", models+"generateContent", request)
	model := first["candidates"].([]any)[0].(object)["content"]
	result := object{"functionResponse": object{"name": "weather", "response": object{"result": "Rain"}}}
	request["contents"] = []any{user, model, object{"role": "user", "parts": []any{result}}}
	ask("content with a function's result, streamed", models+"streamGenerateContent?alt=sse", request)
}

// ask prints the whole answer, line by line as it comes, and returns what of it is JSON.
func ask(name, url string, body object) object {
	fmt.Println("==", name)
	response, err := client.Do(request("POST", url, body))
	must(err)
	defer response.Body.Close()
	fmt.Println(response.Proto, response.Status)
	var header []string
	for name, values := range response.Header {
		for _, value := range values {
			header = append(header, name+": "+value)
		}
	}
	sort.Strings(header)
	fmt.Println(strings.Join(header, "\n"))
	var all bytes.Buffer
	lines := bufio.NewReader(io.TeeReader(response.Body, &all))
	for {
		line, err := lines.ReadString('\n')
		fmt.Print(line)
		if err == io.EOF {
			break
		}
		must(err)
	}
	fmt.Println()
	for name := range response.Trailer {
		fmt.Println(name, response.Trailer[name])
	}
	var value object
	_ = json.Unmarshal(all.Bytes(), &value)
	return value
}

func atOnce() {
	answers := make([]string, 8)
	var all sync.WaitGroup
	for number := range answers {
		number := number
		all.Add(1)
		go func() {
			defer all.Done()
			body := object{
				"model": "gpt-4o-mini", "stream": true, "stream_options": object{"include_usage": true},
				"messages": []any{object{"role": "user", "content": fmt.Sprint("Number ", number)}},
			}
			response, err := client.Do(request("POST", chat, body))
			must(err)
			defer response.Body.Close()
			answer, err := io.ReadAll(response.Body)
			must(err)
			answers[number] = string(answer)
		}()
	}
	all.Wait()
	for _, answer := range answers {
		fmt.Println(answer)
	}
}

func request(method, url string, body object) *http.Request {
	encoded, err := json.Marshal(body)
	must(err)
	request, err := http.NewRequest(method, url, bytes.NewReader(encoded))
	must(err)
	request.Header.Set("content-type", "application/json")
	name, value, _ := strings.Cut(keys[request.URL.Host], ": ")
	request.Header.Set(name, value)
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		peer := info.Conn.RemoteAddr().String()
		at := strings.LastIndex(peer, ":")
		fmt.Fprintln(os.Stderr, "peer", strings.Trim(peer[:at], "[]"), peer[at+1:])
		if secured, ok := info.Conn.(*tls.Conn); ok {
			fmt.Fprintln(os.Stderr, "issuer", secured.ConnectionState().PeerCertificates[0].Issuer)
		}
	}}
	return request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
