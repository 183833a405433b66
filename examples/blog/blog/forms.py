from django import forms

from .models import Comment, Post


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ("name", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 4})}  # noqa: RUF012


class PostForm(forms.ModelForm):
    class Meta:
        model = Post
        fields = ("title", "body")
